//! The driver's types, with the locks of a process.

use transport_vhost_user::HostLock;

pub(crate) use fuse_proto::Attr;
pub(crate) use virtio_fs::Error;

pub(crate) type FileSystem = virtio_fs::VirtioFs<HostLock>;
pub(crate) type Node = virtio_fs::Node<HostLock>;
pub(crate) type File = virtio_fs::File<HostLock>;
pub(crate) type ReadDir = virtio_fs::ReadDir<HostLock>;
