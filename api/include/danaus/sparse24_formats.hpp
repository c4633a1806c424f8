// 2:4 matrices of other programs: the compressed form of PyTorch and CUTLASS, and safetensors files.
//
// These are ways in and out, not for inner loops: each waits for the stream, works on the host and copies.
#pragma once

#include <danaus/safetensors.hpp>
#include <danaus/tile_sparse24.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace danaus {

/// A matrix (rows, cols) in host memory, bit for bit as PyTorch's SparseSemiStructuredTensorCUTLASS keeps it:
/// values and metadata are its `packed` and `meta`, and what sparse_semi_structured_from_dense_cutlass
/// returns.
///
/// f16 and bf16 keep two of every four columns, as Sparse24 does. f32 keeps one of every two, four of the six
/// masks that a group of Sparse24 may have: exporting another one is an error.
///
/// Every group of four columns (f32: pair) is a nibble, the place of the first kept one in its low two bits,
/// that of the second in its high two:
///   kept  1100 → 4   1010 → 8   0110 → 9   1001 → 12   0101 → 13   0011 → 14      f32: 10 → 4   01 → 14
/// Word w of a row holds nibbles 4w to 4w + 3, the first one lowest. Word w of row r, of W = cols / 16 (f32:
/// cols / 8) words a row, stands at metadata[(c / 2)·2·rows + 2d + c % 2], where c = w and
/// d = r − r % 32 + 4·(r % 8) + r % 32 / 8, but that the words (d, c) = (even, odd) and (d + 1, c − 1) of
/// every square of 2×2 are exchanged.
///
/// So rows must be a multiple of 32 and W even: cols a multiple of 32 (f32: 16). PyTorch's own kernels ask
/// for more (64 and 32 columns); its int8 matrices have no counterpart here.
struct CutlassSparse24 {
    DataType type = DataType::f16;
    std::uint64_t rows = 0;
    std::uint64_t cols = 0;
    /// (rows, cols / 2) elements of `type`, little-endian.
    std::vector<std::byte> values;
    /// (rows, W).
    std::vector<std::int16_t> metadata;

    [[nodiscard]] bool operator==(const CutlassSparse24&) const = default;
};

/// The same matrix on the stream's device. Throws Error(invalid_argument) naming what does not fit: type,
/// rows, cols, sizes of values and metadata, or the row and group of a nibble that is none of the above.
[[nodiscard]] DANAUS_EXPORT Sparse24 import_cutlass(Stream& stream, const CutlassSparse24& matrix);
/// Throws Error(invalid_argument) when `a` is a batch, has sizes that the format cannot have, a mask that is
/// not 1:2 (f32), or metadata that is not valid (row and group named).
[[nodiscard]] DANAUS_EXPORT CutlassSparse24 export_cutlass(Stream& stream, const Sparse24& a);

/// Both as one flat tensor, as earlier versions of PyTorch kept them: all values and then all metadata,
/// rows · cols · 9 / 16 elements of the matrix's type.
[[nodiscard]] DANAUS_EXPORT std::vector<std::byte> pack_cutlass(const CutlassSparse24& matrix);
[[nodiscard]] DANAUS_EXPORT CutlassSparse24 unpack_cutlass(DataType type, std::uint64_t rows,
                                                           std::uint64_t cols,
                                                           std::span<const std::byte> bytes);

/// A Sparse24 in a safetensors file is two tensors, its values as "NAME.values" and its metadata, U32, as
/// "NAME.metadata", in the layout of sparse24.hpp. Its columns, which the tensors tell but to a multiple of
/// four, are the string "NAME.columns" of the file's metadata, in decimal digits. Throws
/// Error(invalid_argument) when a name was added before, and then adds nothing.
DANAUS_EXPORT void add_sparse24(SafetensorsWriter& writer, const std::string& name, const Sparse24& a);

/// Throws Error(invalid_argument) when the file lacks a part, Error(file) when parts do not fit together or
/// the metadata are not valid: places of a group that do not ascend, places or bits behind the last column
/// that are used. Row and group are named, nothing is loaded then.
[[nodiscard]] DANAUS_EXPORT Sparse24 load_sparse24(Stream& stream, const SafetensorsFile& file,
                                                   const std::string& name);
/// Into a matrix of the same type and shape; Error(invalid_argument) otherwise.
DANAUS_EXPORT void load_sparse24_into(Stream& stream, const Sparse24& out, const SafetensorsFile& file,
                                      const std::string& name);

/// The same of a TileSparse24: "NAME.values", its codes, U32, as "NAME.codes", and "NAME.columns". What is
/// not valid are codes that are none of the 90, values for columns behind the last one and codes behind the
/// last tile; band and tile are named.
DANAUS_EXPORT void add_tile_sparse24(SafetensorsWriter& writer, const std::string& name,
                                     const TileSparse24& a);
[[nodiscard]] DANAUS_EXPORT TileSparse24 load_tile_sparse24(Stream& stream, const SafetensorsFile& file,
                                                            const std::string& name);
DANAUS_EXPORT void load_tile_sparse24_into(Stream& stream, const TileSparse24& out,
                                           const SafetensorsFile& file, const std::string& name);

}  // namespace danaus
