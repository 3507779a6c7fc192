//! What the motion promises, on paused time over the real machine.

mod calm;
