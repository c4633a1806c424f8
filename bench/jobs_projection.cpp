// Projections of dense matrices onto Monarch matrices, beside LAPACK's decompositions of the same blocks.
#include "jobs.hpp"

#include <danaus/projection.hpp>

#include <cmath>

namespace danaus::bench {

Job projection(Stream& stream, const Sizes& s) {
    const std::uint64_t blocks = s.blocks, p = s.in / blocks, rows = s.out / blocks;
    const std::uint64_t q = std::min(p, rows);
    const Tensor dense(stream.device(), DataType::f32, {s.out, s.in}),
        again(stream.device(), DataType::f32, {s.out, s.in});
    const Monarch matrix(Tensor(stream.device(), DataType::f32, {blocks, q, p}),
                         Tensor(stream.device(), DataType::f32, {blocks, rows, q}));
    Job job;
    job.operands = {{Role::input, dense.elements(), dense, false},
                    {Role::output, again.elements(), again, false}};
    job.record = [=](Recorder& recorder) { project_into(recorder, matrix, {}, dense); };
    job.reveal = [=](Recorder& recorder) { convert_into(recorder, again, to_dense(recorder, matrix)); };
    // A block of rank one, the first row and column of the numbers drawn for it, comes back.
    job.oracle = [=](std::vector<std::vector<float>>& operands) {
        std::vector<float>& a = operands[0];
        for (std::uint64_t i = blocks; i < s.out; ++i)
            for (std::uint64_t j = 0; j < s.in; ++j)
                if (j % p != 0) a[i * s.in + j] = a[i * s.in + j / p * p] * a[i % blocks * s.in + j];
        for (std::uint64_t i = 0; i < blocks; ++i)
            for (std::uint64_t j = 0; j < s.in; j += p) a[i * s.in + j] = 1.0f;
        operands[1] = a;
    };
    job.tolerance = 1e-4;
    job.bytes = (dense.elements() + matrix.parameters()) * size_of(DataType::f32);
    // As LAPACK counts its divide and conquer with both sides' vectors: 22 n³ operations a square block.
    const double block = 11.0 * static_cast<double>(std::max(p, rows)) * std::pow(static_cast<double>(q), 2);
    job.multiply_adds = static_cast<std::uint64_t>(block) * blocks * blocks;
    job.yardstick.what = "sgesdd of every block";
    job.yardstick.multiply_adds = job.multiply_adds;
    job.yardstick.needs_lapack = true;
    job.yardstick.run = [=](const Blas& blas, std::vector<std::vector<float>>& operands) {
        std::vector<float> one(rows * p);
        for (std::uint64_t k = 0; k < blocks; ++k)
            for (std::uint64_t l = 0; l < blocks; ++l) {
                for (std::uint64_t i = 0; i < rows; ++i)
                    std::copy_n(
                        operands[0].begin() + static_cast<std::ptrdiff_t>((i * blocks + l) * s.in + k * p), p,
                        one.begin() + static_cast<std::ptrdiff_t>(i * p));
                blas.sgesdd(p, rows, one);
            }
    };
    return job;
}

}  // namespace danaus::bench
