//! Tests of eFuses: burning, protection, check bytes.

use super::*;

/// Burns the program registers' words to a block and reads all blocks again.
fn burn(block: u32, words: &[u32]) -> Vec<Do> {
    let mut moves: Vec<Do> = (0..11)
        .map(|at| Store(EFUSE + 4 * at, words.get(at as usize).copied().unwrap_or(0)))
        .collect();
    moves.extend([
        Store(EFUSE + 0x1cc, 0x5a5a),
        Store(EFUSE + 0x1d4, 2 | block << 2),
        Load(EFUSE + 0x1d4, 3, 0),
        Load(EFUSE + 0x1d8, 2, 2),
        Store(EFUSE + 0x1cc, 0x5aa5),
        Store(EFUSE + 0x1d4, 1),
        Load(EFUSE + 0x1d8, 1, 1),
    ]);
    moves
}

#[test]
fn fuses_burn_one_way_and_outlive_resets() {
    let mut moves = burn(3, &[0b0101]);
    moves.push(Load(EFUSE + 0x7c, ALL, 0b0101));
    moves.extend(burn(3, &[0b0011]));
    moves.extend([
        Load(EFUSE + 0x7c, ALL, 0b0111),
        Reset(ResetReason::PowerOn),
        Load(EFUSE + 0x7c, ALL, 0b0111),
        // With the wrong key nothing is burnt.
        Store(EFUSE, 0xff00),
        Store(EFUSE + 0x1cc, 0x5aa5),
        Store(EFUSE + 0x1d4, 2 | 3 << 2),
        Store(EFUSE + 0x1d4, 1),
        Load(EFUSE + 0x7c, ALL, 0b0111),
        // Burnt, but not read yet.
        Store(EFUSE + 0x1cc, 0x5a5a),
        Store(EFUSE + 0x1d4, 2 | 3 << 2),
        Load(EFUSE + 0x7c, ALL, 0b0111),
        // A block that does not exist.
        Store(EFUSE + 0x1d4, 2 | 15 << 2),
    ]);
    check(&moves);
}

#[test]
fn fuses_protect_fuses() {
    // Sets WR_DIS of the crypt counter, of the user block and of key 0's purpose.
    let mut moves = burn(0, &[1 << 4 | 1 << 22 | 1 << 8]);
    moves.extend(burn(0, &[0, 0, 7 << 18 | 0xf << 24 | 0xf << 28]));
    moves.push(Load(EFUSE + 0x34, ALL, 0xf << 28));
    moves.extend(burn(3, &[1]));
    moves.push(Load(EFUSE + 0x7c, ALL, 0));
    // A key that is hidden afterwards.
    moves.extend(burn(4, &[0x1234_5678]));
    moves.push(Load(EFUSE + 0x9c, ALL, 0x1234_5678));
    moves.extend(burn(0, &[0, 1]));
    moves.extend([Load(EFUSE + 0x30, 0x7f, 1), Load(EFUSE + 0x9c, ALL, 0)]);
    moves.extend(burn(5, &[0x55]));
    moves.push(Load(EFUSE + 0xbc, ALL, 0x55));
    check(&moves);
}

#[test]
fn check_bytes_that_do_not_fit_are_reported() {
    let data: Vec<u32> = (0..8).map(|at| 0x0302_0100 + at * 0x0404_0404).collect();
    let fitting = [160, 76, 71, 13, 63, 252, 178, 3, 218, 233, 244, 19_u8];
    let checks = fitting.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap()));
    let whole: Vec<u32> = data.iter().copied().chain(checks).collect();
    let mut moves = vec![Load(EFUSE + 0x1c0, ALL, 0)];
    moves.extend(burn(4, &whole));
    moves.extend([Load(EFUSE + 0x1c0, ALL, 0), Load(EFUSE + 0x9c, ALL, 0x0302_0100)]);
    // Burnt again with other data, so that the check bytes match neither.
    moves.extend(burn(4, &[8]));
    moves.push(Load(EFUSE + 0x1c0, ALL, 0xf << 12));
    moves.extend(burn(10, &data));
    moves.push(Load(EFUSE + 0x1c4, ALL, 0xf << 4));
    check(&moves);
}
