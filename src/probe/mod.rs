//! Connect to an endpoint, then one RPC bind.
