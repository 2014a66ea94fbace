//! Who starts the container? The native capsule, docker, podman and bolt.
