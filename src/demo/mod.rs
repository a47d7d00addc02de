//! An embedded lab on loopback: DNS answers and RPC bind listeners.
