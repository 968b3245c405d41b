//! Lists of pairs at the end of messages, where nothing is aligned.

use core::{fmt, marker::PhantomData};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, native_endian::U64};

use crate::{ByteOrder, DecodeError, EncodeError, NodeId};

/// Something that stands in a [`List`]: a structure of 64-bit numbers that needs no alignment.
pub trait ListItem: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned + Copy + fmt::Debug {
    /// The structure's name in `linux/fuse.h`.
    const NAME: &'static str;

    /// The same with the bytes of each number reversed.
    #[must_use]
    fn swapped(self) -> Self;
}

macro_rules! pair {
    ($(#[$meta:meta])* $name:ident = $c_name:literal { $(#[$first_meta:meta])* $first:ident: $first_ty:ty, $(#[$second_meta:meta])* $second:ident }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
        pub struct $name {
            first: U64,
            second: U64,
        }

        impl $name {
            /// Size in bytes.
            pub const LEN: usize = 16;

            /// One item.
            #[must_use]
            pub fn new($first: $first_ty, $second: u64) -> Self {
                Self { first: U64::new($first.into()), second: U64::new($second) }
            }

            $(#[$first_meta])*
            #[must_use]
            pub fn $first(self) -> $first_ty {
                self.first.get().into()
            }

            $(#[$second_meta])*
            #[must_use]
            pub fn $second(self) -> u64 {
                self.second.get()
            }
        }

        impl ListItem for $name {
            const NAME: &'static str = $c_name;

            fn swapped(self) -> Self {
                Self { first: self.first.get().swap_bytes().into(), second: self.second.get().swap_bytes().into() }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    .field(stringify!($first), &self.$first())
                    .field(stringify!($second), &self.$second())
                    .finish()
            }
        }
    };
}

pair! {
    /// A part of the DAX window to unmap (`fuse_removemapping_one`).
    MappingRange = "fuse_removemapping_one" {
        /// Offset in the window, in bytes.
        moffset: u64,
        /// Length in bytes.
        length
    }
}

pair! {
    /// References to drop on one inode (`fuse_forget_one`).
    ForgetOne = "fuse_forget_one" {
        /// The inode.
        node: NodeId,
        /// How many look-ups to forget.
        nlookup
    }
}

pair! {
    /// A piece of the caller's memory (`fuse_ioctl_iovec`).
    IoctlVector = "fuse_ioctl_iovec" {
        /// Its address.
        base: u64,
        /// Its length in bytes.
        length
    }
}

/// An inode that the client should let go of, in a [`Prune`](crate::Notification::Prune) notification.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PrunedNode(U64);

impl PrunedNode {
    /// One item.
    #[must_use]
    pub fn new(node: NodeId) -> Self {
        Self(U64::new(node.0))
    }

    /// The inode.
    #[must_use]
    pub fn node(self) -> NodeId {
        NodeId(self.0.get())
    }
}

impl ListItem for PrunedNode {
    const NAME: &'static str = "uint64_t nodeid";

    fn swapped(self) -> Self {
        Self(self.0.get().swap_bytes().into())
    }
}

impl fmt::Debug for PrunedNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PrunedNode").field(&self.node().0).finish()
    }
}

/// A borrowed list, which may be part of a message from a machine of the other byte order.
pub struct List<'a, T> {
    bytes: &'a [u8],
    order: ByteOrder,
    items: PhantomData<&'a [T]>,
}

impl<'a, T: ListItem> List<'a, T> {
    /// The list of these items.
    #[must_use]
    pub fn new(items: &'a [T]) -> Self {
        Self { bytes: items.as_bytes(), order: ByteOrder::NATIVE, items: PhantomData }
    }

    /// The list of `count` items that fills `bytes`.
    pub(crate) fn parse(order: ByteOrder, count: u64, bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let need = count.saturating_mul(size_of::<T>() as u64);
        let have = bytes.len() as u64;
        if have < need {
            return Err(DecodeError::Truncated { what: T::NAME, need, have });
        }
        if have > need {
            return Err(DecodeError::Trailing { what: T::NAME, extra: have - need });
        }
        Ok(Self { bytes, order, items: PhantomData })
    }

    /// The number of items.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len() / size_of::<T>()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The items in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = T> + use<'a, T> {
        let order = self.order;
        // The length is a multiple of the item's size, which has no alignment, so the whole list is there.
        <[T]>::ref_from_bytes(self.bytes)
            .unwrap_or(&[])
            .iter()
            .map(move |&item| if order.is_native() { item } else { item.swapped() })
    }

    /// The bytes, if they are in this order already.
    pub(crate) fn wire(&self, order: ByteOrder) -> Result<&'a [u8], EncodeError> {
        if self.order == order || self.is_empty() { Ok(self.bytes) } else { Err(EncodeError::ByteOrder) }
    }
}

impl<T> Clone for List<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for List<'_, T> {}

impl<T> Default for List<'_, T> {
    fn default() -> Self {
        Self { bytes: &[], order: ByteOrder::NATIVE, items: PhantomData }
    }
}

impl<T: ListItem + PartialEq> PartialEq for List<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<T: ListItem + Eq> Eq for List<'_, T> {}

impl<T: ListItem> fmt::Debug for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_needs_no_alignment_and_keeps_its_order() {
        let mut bytes = [0_u8; 33];
        bytes[1..].copy_from_slice([MappingRange::new(0x20_0000, 0x1000), MappingRange::new(1, 2)].as_bytes());
        let list = List::<MappingRange>::parse(ByteOrder::NATIVE, 2, &bytes[1..]).unwrap();
        assert!(list.iter().map(|one| (one.moffset(), one.length())).eq([(0x20_0000, 0x1000), (1, 2)]));
        let reversed = List::<MappingRange>::parse(ByteOrder::NATIVE.reversed(), 2, &bytes[1..]).unwrap();
        assert!(reversed.iter().map(|one| one.length()).eq([0x1000_u64.swap_bytes(), 2_u64.swap_bytes()]));
        assert_eq!(reversed.wire(ByteOrder::NATIVE), Err(EncodeError::ByteOrder));
        assert_eq!(list.wire(ByteOrder::NATIVE), Ok(&bytes[1..]));
    }

    #[test]
    fn a_count_that_lies() {
        let parse = |count, len| List::<ForgetOne>::parse(ByteOrder::NATIVE, count, &[0; 64][..len]);
        assert_eq!(parse(4, 64).unwrap().len(), 4);
        assert!(matches!(parse(5, 64), Err(DecodeError::Truncated { need: 80, have: 64, .. })));
        assert!(matches!(parse(3, 64), Err(DecodeError::Trailing { extra: 16, .. })));
        assert!(matches!(parse(u64::MAX, 64), Err(DecodeError::Truncated { .. })));
        assert!(matches!(parse(0, 1), Err(DecodeError::Trailing { extra: 1, .. })));
    }
}
