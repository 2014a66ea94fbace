//! What would it be like with other GPUs? Machine profiles, live state and a simulated driver root.
