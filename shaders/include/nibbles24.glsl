// The places of the two kept values of a group of four columns, as a nibble: low two bits the first one's, next two bits
// the second one's. Stored in words behind the values, of all matrices one after the other, in one of two forms:
//
//   TILE_CODES  0 (Sparse24)       nibble g % 8 of word g / 8 of the row's line
//               1 (TileSparse24)   byte g % 4 of word g / 4 of the line of the row's band of four rows: a code of the 4×4 tile,
//                                  36 p0 + 6 p1 + p2. p_r, the pair of columns that row r keeps, is 0 … 5 for 01, 02, 12,
//                                  03, 13, 23: its columns 1 to 3 read as a number, less one. A tile keeps each column
//                                  twice, so that the four numbers add up to 14 and p3 = 10 - p0 - p1 - p2.
//
//   uint place_words(columns), place_lines(rows), line_of(row), word_of(group)   how words are counted
//   ivec4 place_terms(row)                         what a lane computes once for a row; of tiles row & 3 counts alone
//   uint nibble_of(word, group, terms)             of group `group` in its word; higher bits are anything

layout(constant_id = 22) const bool TILE_CODES = false;

const uint WORD_GROUPS = TILE_CODES ? 4 : 8;

uint place_words(uint columns) { return TILE_CODES ? (columns + 15) / 16 : (columns + 31) / 32; }
uint place_lines(uint rows) { return TILE_CODES ? (rows + 3) / 4 : rows; }
uint line_of(uint row) { return TILE_CODES ? row / 4 : row; }
uint word_of(uint group) { return group / WORD_GROUPS; }

// Four times p of row r is a sum: of a constant, and of code / 36, code / 6 and code times these.
ivec4 place_terms(uint row) {
    const int at = int(row & 3) * 8;
    return TILE_CODES ? ivec4(bitfieldExtract(0x28000000, at, 8), bitfieldExtract(0x1400e804, at, 8),
                              bitfieldExtract(0x14e80400, at, 8), bitfieldExtract(int(0xfc040000), at, 8))
                      : ivec4(0);
}

uint nibble_of(uint word, uint group, ivec4 terms) {
    if (!TILE_CODES) return word >> (group & 7) * 4;
    const uint code = word >> (group & 3) * 8 & 255;
    const ivec3 quotients = ivec3(code * 57 >> 11, code * 171 >> 10, code);
    const int shift = terms.x + terms.y * quotients.x + terms.z * quotients.y + terms.w * quotients.z;
    return 0xedc984u >> (shift & 31);
}
