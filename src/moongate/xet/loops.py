"""Xet's two loops over single bytes, as WebAssembly text: cutting by the rolling hash, and weaving of groups.

    0      256 entries of the hash's table, 8 bytes each
    2048   how many u32: bytes to cut, or pieces to weave; and of chunks that ended
    2056   a cut's state: hash u64 · bytes of the chunk so far u32
    4096   lengths, u32 each: of the chunks that ended, or of the data to weave
    64 KiB what comes in, one after the other, each padded to a word; what was woven goes `ROOM_BYTES` behind

`moongate.xet.compiled` runs them. A call has neither parameters nor a result: each costs more than the call.
Memory is all they can touch, and it is theirs.
"""

from __future__ import annotations

from typing import Final

COUNT_AT: Final = 2048
STATE_AT: Final = 2056
LENGTHS_AT: Final = 4096
MOST_LENGTHS: Final = 8192
ROOM_AT: Final = 64 << 10
ROOM_BYTES: Final = 5 << 18
"""More than a mebibyte of chunks and the one that goes beyond it."""
PAGES: Final = (ROOM_AT + 2 * ROOM_BYTES) >> 16

TEXT: Final = f"""
(module
  (memory (export "memory") {PAGES})

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

  ;; Weaves as many pieces as there are lengths.
  (func (export "weave")
    (local $at i32) (local $lengths i32) (local $count i32)
    (local.set $count (i32.load offset={COUNT_AT} (i32.const 0)))
    (local.set $at (i32.const {ROOM_AT}))
    (local.set $lengths (i32.const {LENGTHS_AT}))
    (block $over
      (loop $piece
        (br_if $over (i32.eqz (local.get $count)))
        (call $weave_one (local.get $at) (i32.load (local.get $lengths)))
        (local.set $at (i32.add (local.get $at)
          (i32.and (i32.add (i32.load (local.get $lengths)) (i32.const 3)) (i32.const -4))))
        (local.set $lengths (i32.add (local.get $lengths) (i32.const 4)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $piece))))

  (func $weave_one (param $a i32) (param $length i32)
    (local $b i32) (local $c i32) (local $d i32) (local $to i32)
    (local $each i32) (local $longer i32) (local $end i32)
    (local $first v128) (local $second v128)
    (local $low_ab v128) (local $high_ab v128) (local $low_cd v128) (local $high_cd v128)
    (local.set $to (i32.add (local.get $a) (i32.const {ROOM_BYTES})))
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
