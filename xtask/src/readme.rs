//! The examples of every README and of the documentation compile: `cargo test` takes them from here.
#![cfg_attr(doctest, doc = include_str!("../../README.md"))]

/// Those of the crates, one module each so that a failure says which.
macro_rules! readmes {
    ($($name:ident: $path:literal),* $(,)?) => {
        $(#[cfg(doctest)] #[doc = include_str!($path)] mod $name {})*
    };
}

readmes! {
    porting: "../../docs/porting.md",
    virtio_shm: "../../crates/virtio-shm/README.md",
    virtio_transport: "../../crates/virtio-transport/README.md",
    transport_pci: "../../crates/transport-pci/README.md",
    transport_mmio: "../../crates/transport-mmio/README.md",
    fuse_proto: "../../crates/fuse-proto/README.md",
    fs_errno: "../../crates/fs-errno/README.md",
    fs_dax: "../../crates/fs-dax/README.md",
    dax_window: "../../crates/dax-window/README.md",
    virtio_fs: "../../crates/virtio-fs/README.md",
    famfs: "../../crates/famfs/README.md",
}
