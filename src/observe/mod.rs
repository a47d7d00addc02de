//! What must be observed, what has been, and when the next observation is due.
