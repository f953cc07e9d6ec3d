"""Xet's loops over single bytes, as WebAssembly text: cutting by the rolling hash, and unpacking of chunks.

    0      256 entries of the hash's table, 8 bytes each
    2048   how many u32: bytes to cut, or chunks to unpack; and of chunks that ended
    2052   which byte of a xorb comes in first u32
    2056   a cut's state: hash u64 · bytes of the chunk so far u32
    2112   the heads of LZ4 frames that are understood, behind the magic number, u32 each
    4096   u32 each: lengths of the chunks that ended; or of each chunk to unpack where it begins in its xorb,
           stored length, scheme, in whose place is told whether it was unpacked, raw length
    64 KiB what comes in
    +1 MiB what was unpacked, one after the other; then scratch for a chunk whose groups are to be woven

`moongate.xet.compiled` runs them. A call has neither parameters nor a result: each costs more than the call.
Memory is all they can touch, and it is theirs.

Unpacking is for what clients write: LZ4 frames without checksums and without lengths. All else, and whatever
is not as it should be, is left for `decoding` to unpack or to refuse.

Source: LZ4 frame format 1.6.4, LZ4 block format.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

COUNT_AT: Final = 2048
BASE_AT: Final = 2052
STATE_AT: Final = 2056
LENGTHS_AT: Final = 4096
MOST_LENGTHS: Final = 8192
ROOM_AT: Final = 64 << 10
ROOM_BYTES: Final = 5 << 18
"""More than a mebibyte of chunks and the one that goes beyond it."""
OUT_AT: Final = ROOM_AT + ROOM_BYTES

# Copies are of 16 bytes at a time, and may write so many bytes beyond their end.
_SLACK_BYTES: Final = 64 << 10
_SCRATCH_AT: Final = OUT_AT + ROOM_BYTES + _SLACK_BYTES
PAGES: Final = (_SCRATCH_AT + (128 << 10) + _SLACK_BYTES) >> 16

_HEADS_AT: Final = 2112
_HEADS: Final = (0x824060, 0xC04040, 0xFB5060, 0x775040, 0x516060, 0x966040, 0x737060, 0xDF7040)
"""Flags, block size and their checksum: blocks of 64 KiB to 4 MiB, each size on its own and linked."""

_HEAD_BYTES: Final = 7
_MAGIC: Final = 0x184D2204


def _escaped(words: Sequence[int]) -> str:
    return "".join(f"\\{byte:02x}" for word in words for byte in word.to_bytes(4, "little"))


def _extended(name: str) -> str:
    """The rest of a length whose first four bits are all set: bytes to add, up to one that is not 255."""
    return f"""(if (i32.eq (local.get ${name}) (i32.const 15)) (then
            (loop $more
              (br_if $odd (i32.ge_u (local.get $from) (local.get $stop)))
              (local.set $byte (i32.load8_u (local.get $from)))
              (local.set $from (i32.add (local.get $from) (i32.const 1)))
              (local.set ${name} (i32.add (local.get ${name}) (local.get $byte)))
              (br_if $more (i32.eq (local.get $byte) (i32.const 255))))))"""


TEXT: Final = f"""
(module
  (memory (export "memory") {PAGES})
  (data (i32.const {_HEADS_AT}) "{_escaped(_HEADS)}")

  ;; Reads so many bytes, goes on with the state, and leaves it there, as it does how many lengths it wrote.
  (func (export "cut")
    (local $hash i64) (local $at i32) (local $end i32) (local $start i32) (local $stop i32)
    (local $found i32) (local $lengths i32)
    (local.set $hash (i64.load offset={STATE_AT} (i32.const 0)))
    (local.set $at (i32.const {ROOM_AT}))
    (local.set $end (i32.add (local.get $at) (i32.load offset={COUNT_AT} (i32.const 0))))
    (local.set $start (i32.sub (local.get $at) (i32.load offset={STATE_AT + 8} (i32.const 0))))
    (local.set $lengths (i32.const {LENGTHS_AT}))
    (block $over
      (loop $chunk
        ;; What no hash depends on that is looked at: all but 64 bytes before the first place to cut at.
        (local.set $stop (i32.add (local.get $start) (i32.const {8 * 1024 - 65})))
        (if (i32.lt_s (local.get $at) (local.get $stop)) (then
          (local.set $hash (i64.const 0))
          (local.set $at (local.get $stop))
          (if (i32.ge_s (local.get $at) (local.get $end)) (then
            (local.set $at (local.get $end))
            (br $over)))))
        ;; These 64, which are hashed and not looked at.
        (local.set $stop (i32.add (local.get $start) (i32.const {8 * 1024 - 1})))
        (if (i32.gt_s (local.get $stop) (local.get $end)) (then (local.set $stop (local.get $end))))
        (block $warm
          (loop $byte
            (br_if $warm (i32.ge_s (local.get $at) (local.get $stop)))
            (local.set $hash (i64.add
              (i64.shl (local.get $hash) (i64.const 1))
              (i64.load (i32.shl (i32.load8_u (local.get $at)) (i32.const 3)))))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br $byte)))
        ;; From here on every byte may be the last.
        (local.set $stop (i32.add (local.get $start) (i32.const {128 * 1024})))
        (local.set $found (i32.le_s (local.get $stop) (local.get $end)))
        (if (i32.gt_s (local.get $stop) (local.get $end)) (then (local.set $stop (local.get $end))))
        (block $ended
          (loop $byte
            (br_if $ended (i32.ge_s (local.get $at) (local.get $stop)))
            (local.set $hash (i64.add
              (i64.shl (local.get $hash) (i64.const 1))
              (i64.load (i32.shl (i32.load8_u (local.get $at)) (i32.const 3)))))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br_if $byte (i64.ge_u (local.get $hash) (i64.const {1 << 48})))
            (local.set $found (i32.const 1))))
        (if (local.get $found) (then
          (i32.store (local.get $lengths) (i32.sub (local.get $at) (local.get $start)))
          (local.set $lengths (i32.add (local.get $lengths) (i32.const 4)))
          (local.set $start (local.get $at))
          (br_if $chunk (i32.lt_s (local.get $at) (local.get $end)))))))
    (i64.store offset={STATE_AT} (i32.const 0) (local.get $hash))
    (i32.store offset={STATE_AT + 8} (i32.const 0) (i32.sub (local.get $at) (local.get $start)))
    (i32.store offset={COUNT_AT} (i32.const 0)
      (i32.shr_u (i32.sub (local.get $lengths) (i32.const {LENGTHS_AT})) (i32.const 2))))

  ;; Unpacks as many chunks as it is told. Those stored raw are copied, so that all of it is in one piece.
  (func (export "unpack")
    (local $entry i32) (local $end i32) (local $from i32) (local $stop i32) (local $raw i32) (local $to i32)
    (local $scheme i32) (local $done i32) (local $shift i32)
    (local.set $shift (i32.sub (i32.const {ROOM_AT}) (i32.load offset={BASE_AT} (i32.const 0))))
    (local.set $entry (i32.const {LENGTHS_AT}))
    (local.set $end (i32.add (local.get $entry)
      (i32.shl (i32.load offset={COUNT_AT} (i32.const 0)) (i32.const 4))))
    (local.set $to (i32.const {OUT_AT}))
    (block $over
      (loop $chunk
        (br_if $over (i32.ge_u (local.get $entry) (local.get $end)))
        (local.set $from (i32.add (local.get $shift) (i32.load (local.get $entry))))
        (local.set $stop (i32.add (local.get $from) (i32.load offset=4 (local.get $entry))))
        (local.set $scheme (i32.load offset=8 (local.get $entry)))
        (local.set $raw (i32.load offset=12 (local.get $entry)))
        (if (i32.eqz (local.get $scheme))
          (then
            (local.set $done (i32.eq (i32.sub (local.get $stop) (local.get $from)) (local.get $raw)))
            (if (local.get $done) (then
              (memory.copy (local.get $to) (local.get $from) (local.get $raw)))))
          (else (if (i32.eq (local.get $scheme) (i32.const 1))
            (then (local.set $done (call $unframe (local.get $from) (local.get $stop)
              (local.get $to) (i32.add (local.get $to) (local.get $raw)))))
            (else
              (local.set $done (call $unframe (local.get $from) (local.get $stop)
                (i32.const {_SCRATCH_AT}) (i32.add (i32.const {_SCRATCH_AT}) (local.get $raw))))
              (if (local.get $done) (then
                (call $weave (i32.const {_SCRATCH_AT}) (local.get $raw) (local.get $to))))))))
        (i32.store offset=8 (local.get $entry) (local.get $done))
        (local.set $to (i32.add (local.get $to) (local.get $raw)))
        (local.set $entry (i32.add (local.get $entry) (i32.const 16)))
        (br $chunk))))

  ;; Unpacks a frame into exactly the bytes up to $end; 0 when it is not understood, or is not one.
  (func $unframe (param $from i32) (param $last i32) (param $to i32) (param $end i32) (result i32)
    (local $head i32) (local $number i32) (local $window i32) (local $most i32) (local $size i32)
    (local $stop i32) (local $bound i32)
    (block $odd
      (br_if $odd (i32.lt_u (i32.sub (local.get $last) (local.get $from)) (i32.const {_HEAD_BYTES})))
      (br_if $odd (i32.ne (i32.load (local.get $from)) (i32.const {_MAGIC})))
      (local.set $head (i32.shr_u (i32.load offset=3 (local.get $from)) (i32.const 8)))
      (local.set $from (i32.add (local.get $from) (i32.const {_HEAD_BYTES})))
      (loop $known
        (br_if $odd (i32.eq (local.get $number) (i32.const {len(_HEADS)})))
        (local.set $size (i32.load offset={_HEADS_AT} (i32.shl (local.get $number) (i32.const 2))))
        (local.set $number (i32.add (local.get $number) (i32.const 1)))
        (br_if $known (i32.ne (local.get $head) (local.get $size))))
      (local.set $number (i32.sub (local.get $number) (i32.const 1)))
      (local.set $most (i32.shl (i32.const {64 << 10}) (i32.and (local.get $number) (i32.const 6))))
      (local.set $window (local.get $to))
      (loop $block
        (br_if $odd (i32.lt_u (i32.sub (local.get $last) (local.get $from)) (i32.const 4)))
        (local.set $size (i32.load (local.get $from)))
        (local.set $from (i32.add (local.get $from) (i32.const 4)))
        (if (i32.eqz (local.get $size)) (then (return (i32.eq (local.get $to) (local.get $end)))))
        (local.set $stop (i32.add (local.get $from) (i32.and (local.get $size) (i32.const 0x7fffffff))))
        (br_if $odd (i32.gt_u (i32.sub (local.get $stop) (local.get $from))
          (i32.sub (local.get $last) (local.get $from))))
        (local.set $bound (i32.add (local.get $to) (local.get $most)))
        (if (i32.gt_u (local.get $bound) (local.get $end)) (then (local.set $bound (local.get $end))))
        (if (i32.eqz (i32.and (local.get $number) (i32.const 1))) (then
          (local.set $window (local.get $to))))
        (if (i32.lt_s (local.get $size) (i32.const 0))
          (then
            (local.set $size (i32.sub (local.get $stop) (local.get $from)))
            (br_if $odd (i32.gt_u (local.get $size) (i32.sub (local.get $bound) (local.get $to))))
            (memory.copy (local.get $to) (local.get $from) (local.get $size))
            (local.set $to (i32.add (local.get $to) (local.get $size))))
          (else
            (local.set $to (call $unblock
              (local.get $from) (local.get $stop) (local.get $to) (local.get $bound) (local.get $window)))
            (br_if $odd (i32.eqz (local.get $to)))))
        (local.set $from (local.get $stop))
        (br $block)))
    (i32.const 0))

  ;; Unpacks a block: literals, then bytes that were there before, and so on; it ends with literals.
  ;; Returns where it ended; 0 when it would go beyond $end, or before $window.
  (func $unblock (param $from i32) (param $stop i32) (param $to i32) (param $end i32) (param $window i32)
    (result i32)
    (local $token i32) (local $byte i32) (local $literals i32) (local $length i32) (local $back i32)
    (local $match i32) (local $until i32) (local $count i32) (local $reach i32)
    (local $far i32) (local $far_from i32) (local $far_to i32)
    (local.set $far_from (i32.sub (local.get $stop) (i32.const 32)))
    (local.set $far_to (i32.sub (local.get $end) (i32.const 64)))
    (block $odd
      (loop $sequence
        ;; Short ones move on by 32 bytes at most. As many as stay far from both ends for certain
        ;; are only looked at for being short, and for going back 16 bytes at least and not too far.
        (block $careful
          (local.set $reach (i32.sub (i32.sub (local.get $to) (local.get $window)) (i32.const 15)))
          (local.set $count (i32.sub (local.get $far_from) (local.get $from)))
          (local.set $byte (i32.sub (local.get $far_to) (local.get $to)))
          (if (i32.gt_s (local.get $count) (local.get $byte)) (then (local.set $count (local.get $byte))))
          (local.set $count (i32.shr_s (local.get $count) (i32.const 5)))
          (br_if $careful (i32.or
            (i32.le_s (local.get $reach) (i32.const 0)) (i32.le_s (local.get $count) (i32.const 0))))
          (loop $quick
            (local.set $token (i32.load8_u (local.get $from)))
            (local.set $literals (i32.shr_u (local.get $token) (i32.const 4)))
            (local.set $length (i32.and (local.get $token) (i32.const 15)))
            (br_if $careful (i32.eq (local.get $literals) (i32.const 15)))
            (br_if $careful (i32.eq (local.get $length) (i32.const 15)))
            (v128.store (local.get $to) (v128.load offset=1 (local.get $from)))
            (local.set $back
              (i32.load16_u offset=1 (i32.add (local.get $from) (local.get $literals))))
            (br_if $careful (i32.ge_u (i32.sub (local.get $back) (i32.const 16)) (local.get $reach)))
            (local.set $from
              (i32.add (i32.add (local.get $from) (local.get $literals)) (i32.const 3)))
            (local.set $to (i32.add (local.get $to) (local.get $literals)))
            (local.set $match (i32.sub (local.get $to) (local.get $back)))
            (v128.store (local.get $to) (v128.load (local.get $match)))
            (i32.store offset=16 (local.get $to) (i32.load offset=16 (local.get $match)))
            (local.set $to (i32.add (i32.add (local.get $to) (local.get $length)) (i32.const 4)))
            (local.set $count (i32.sub (local.get $count) (i32.const 1)))
            (br_if $quick (local.get $count))))
        (br_if $odd (i32.ge_u (local.get $from) (local.get $stop)))
        (local.set $token (i32.load8_u (local.get $from)))
        (local.set $from (i32.add (local.get $from) (i32.const 1)))
        (local.set $literals (i32.shr_u (local.get $token) (i32.const 4)))
        ;; Far from both ends, and with few literals, nothing else can go wrong with them.
        (local.set $far (i32.and
          (i32.lt_s (local.get $from) (local.get $far_from)) (i32.lt_s (local.get $to) (local.get $far_to))))
        (if (i32.and (local.get $far) (i32.lt_u (local.get $literals) (i32.const 15)))
          (then
            (v128.store (local.get $to) (v128.load (local.get $from)))
            (local.set $to (i32.add (local.get $to) (local.get $literals)))
            (local.set $from (i32.add (local.get $from) (local.get $literals))))
          (else
            (local.set $far (i32.const 0))
            {_extended("literals")}
            (br_if $odd (i32.gt_u (local.get $literals) (i32.sub (local.get $stop) (local.get $from))))
            (br_if $odd (i32.gt_u (local.get $literals) (i32.sub (local.get $end) (local.get $to))))
            (memory.copy (local.get $to) (local.get $from) (local.get $literals))
            (local.set $to (i32.add (local.get $to) (local.get $literals)))
            (local.set $from (i32.add (local.get $from) (local.get $literals)))
            (if (i32.eq (local.get $from) (local.get $stop)) (then (return (local.get $to))))
            ;; A last match begins twelve bytes before the end, and five literals follow it: so it is written.
            (br_if $odd (i32.lt_u (i32.sub (local.get $stop) (local.get $from)) (i32.const 8)))
            (br_if $odd (i32.lt_u (i32.sub (local.get $end) (local.get $to)) (i32.const 12)))))
        (local.set $back (i32.load16_u (local.get $from)))
        (local.set $from (i32.add (local.get $from) (i32.const 2)))
        (br_if $odd (i32.eqz (local.get $back)))
        (br_if $odd (i32.gt_u (local.get $back) (i32.sub (local.get $to) (local.get $window))))
        (local.set $length (i32.and (local.get $token) (i32.const 15)))
        (if (i32.and (local.get $far) (i32.lt_u (local.get $length) (i32.const 15)))
          (then (local.set $length (i32.add (local.get $length) (i32.const 4))))
          (else
            {_extended("length")}
            (local.set $length (i32.add (local.get $length) (i32.const 4)))
            (br_if $odd (i32.gt_u (i32.add (local.get $length) (i32.const 5))
              (i32.sub (local.get $end) (local.get $to))))))
        (local.set $until (i32.add (local.get $to) (local.get $length)))
        (local.set $match (i32.sub (local.get $to) (local.get $back)))
        (if (i32.ge_u (local.get $back) (i32.const 16))
          (then
            (loop $sixteen
              (v128.store (local.get $to) (v128.load (local.get $match)))
              (local.set $to (i32.add (local.get $to) (i32.const 16)))
              (local.set $match (i32.add (local.get $match) (i32.const 16)))
              (br_if $sixteen (i32.lt_u (local.get $to) (local.get $until)))))
          (else
            ;; What repeats within eight bytes is repeated one by one until it is that long.
            (local.set $byte (local.get $back))
            (block $long
              (loop $short
                (br_if $long (i32.ge_u (local.get $byte) (i32.const 8)))
                (local.set $byte (i32.add (local.get $byte) (local.get $back)))
                (br $short)))
            (local.set $back (i32.add (local.get $match) (local.get $byte)))
            (block $far
              (loop $single
                (br_if $far (i32.eq (local.get $to) (local.get $back)))
                (i32.store8 (local.get $to) (i32.load8_u (local.get $match)))
                (local.set $to (i32.add (local.get $to) (i32.const 1)))
                (local.set $match (i32.add (local.get $match) (i32.const 1)))
                (br $single)))
            (local.set $match (i32.sub (local.get $to) (local.get $byte)))
            (loop $eight
              (i64.store (local.get $to) (i64.load (local.get $match)))
              (local.set $to (i32.add (local.get $to) (i32.const 8)))
              (local.set $match (i32.add (local.get $match) (i32.const 8)))
              (br_if $eight (i32.lt_u (local.get $to) (local.get $until))))))
        (local.set $to (local.get $until))
        (br $sequence)))
    (i32.const 0))

  ;; Undoes the groups of a chunk.
  (func $weave (param $a i32) (param $length i32) (param $to i32)
    (local $b i32) (local $c i32) (local $d i32)
    (local $each i32) (local $longer i32) (local $end i32)
    (local $first v128) (local $second v128)
    (local $low_ab v128) (local $high_ab v128) (local $low_cd v128) (local $high_cd v128)
    (local.set $each (i32.shr_u (local.get $length) (i32.const 2)))
    (local.set $longer (i32.and (local.get $length) (i32.const 3)))
    (local.set $b (i32.add (i32.add (local.get $a) (local.get $each))
      (i32.gt_u (local.get $longer) (i32.const 0))))
    (local.set $c (i32.add (i32.add (local.get $b) (local.get $each))
      (i32.gt_u (local.get $longer) (i32.const 1))))
    (local.set $d (i32.add (i32.add (local.get $c) (local.get $each))
      (i32.gt_u (local.get $longer) (i32.const 2))))
    (local.set $end (i32.add (local.get $a) (i32.and (local.get $each) (i32.const -16))))
    (block $wide
      (loop $sixteen
        (br_if $wide (i32.ge_u (local.get $a) (local.get $end)))
        (local.set $low_ab (i8x16.shuffle 0 16 1 17 2 18 3 19 4 20 5 21 6 22 7 23
          (local.tee $first (v128.load (local.get $a)))
          (local.tee $second (v128.load (local.get $b)))))
        (local.set $high_ab (i8x16.shuffle 8 24 9 25 10 26 11 27 12 28 13 29 14 30 15 31
          (local.get $first) (local.get $second)))
        (local.set $low_cd (i8x16.shuffle 0 16 1 17 2 18 3 19 4 20 5 21 6 22 7 23
          (local.tee $first (v128.load (local.get $c)))
          (local.tee $second (v128.load (local.get $d)))))
        (local.set $high_cd (i8x16.shuffle 8 24 9 25 10 26 11 27 12 28 13 29 14 30 15 31
          (local.get $first) (local.get $second)))
        (v128.store (local.get $to) (i8x16.shuffle 0 1 16 17 2 3 18 19 4 5 20 21 6 7 22 23
          (local.get $low_ab) (local.get $low_cd)))
        (v128.store offset=16 (local.get $to) (i8x16.shuffle 8 9 24 25 10 11 26 27 12 13 28 29 14 15 30 31
          (local.get $low_ab) (local.get $low_cd)))
        (v128.store offset=32 (local.get $to) (i8x16.shuffle 0 1 16 17 2 3 18 19 4 5 20 21 6 7 22 23
          (local.get $high_ab) (local.get $high_cd)))
        (v128.store offset=48 (local.get $to) (i8x16.shuffle 8 9 24 25 10 11 26 27 12 13 28 29 14 15 30 31
          (local.get $high_ab) (local.get $high_cd)))
        (local.set $a (i32.add (local.get $a) (i32.const 16)))
        (local.set $b (i32.add (local.get $b) (i32.const 16)))
        (local.set $c (i32.add (local.get $c) (i32.const 16)))
        (local.set $d (i32.add (local.get $d) (i32.const 16)))
        (local.set $to (i32.add (local.get $to) (i32.const 64)))
        (br $sixteen)))
    (local.set $end (i32.add (local.get $a) (i32.and (local.get $each) (i32.const 15))))
    (block $words
      (loop $word
        (br_if $words (i32.ge_u (local.get $a) (local.get $end)))
        (i32.store8 (local.get $to) (i32.load8_u (local.get $a)))
        (i32.store8 offset=1 (local.get $to) (i32.load8_u (local.get $b)))
        (i32.store8 offset=2 (local.get $to) (i32.load8_u (local.get $c)))
        (i32.store8 offset=3 (local.get $to) (i32.load8_u (local.get $d)))
        (local.set $a (i32.add (local.get $a) (i32.const 1)))
        (local.set $b (i32.add (local.get $b) (i32.const 1)))
        (local.set $c (i32.add (local.get $c) (i32.const 1)))
        (local.set $d (i32.add (local.get $d) (i32.const 1)))
        (local.set $to (i32.add (local.get $to) (i32.const 4)))
        (br $word)))
    ;; Every group but the last may have one byte more than that.
    (if (i32.gt_u (local.get $longer) (i32.const 0)) (then
      (i32.store8 (local.get $to) (i32.load8_u (local.get $a)))))
    (if (i32.gt_u (local.get $longer) (i32.const 1)) (then
      (i32.store8 offset=1 (local.get $to) (i32.load8_u (local.get $b)))))
    (if (i32.gt_u (local.get $longer) (i32.const 2)) (then
      (i32.store8 offset=2 (local.get $to) (i32.load8_u (local.get $c)))))))
"""
