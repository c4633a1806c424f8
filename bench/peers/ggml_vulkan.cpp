// Times matrix multiplies of ggml's Vulkan backend; a program of its own, built by compare.py against
// Debian's ggml.
//
//   ggml_vulkan BACKEND SECONDS OUTxINxTOKENS[xBATCH]...
//
// BACKEND is libggml-vulkan.so. Prints one line of JSON: the device, and for each shape the nanoseconds of
// each sample (a batch of equal multiplies in one graph, divided by their number) after a warm-up, and the
// largest error of some elements against sums in double precision, relative to the sum of the absolute
// values.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml.h>

namespace {

struct Shape {
    std::int64_t out = 0, in = 0, tokens = 0, batch = 1;
};

// W (in × out per matrix of the batch) and x (in × tokens), as ggml counts dimensions, and `count` products
// of them.
class Products {
public:
    Products(ggml_backend_t backend, const Shape& shape, int count) : backend_(backend), shape_(shape) {
        const auto nodes = static_cast<std::size_t>(count);
        const ggml_init_params parameters{ggml_tensor_overhead() * (nodes + 8) + ggml_graph_overhead(),
                                          nullptr, true};
        context_.reset(ggml_init(parameters));
        w_ = ggml_new_tensor_3d(context_.get(), GGML_TYPE_F32, shape.in, shape.out, shape.batch);
        x_ = ggml_new_tensor_3d(context_.get(), GGML_TYPE_F32, shape.in, shape.tokens, shape.batch);
        graph_ = ggml_new_graph(context_.get());
        for (int i = 0; i < count; ++i) {
            result_ = ggml_mul_mat(context_.get(), w_, x_);
            ggml_build_forward_expand(graph_, result_);
        }
        buffer_.reset(ggml_backend_alloc_ctx_tensors(context_.get(), backend));
        if (!buffer_) throw std::runtime_error("no memory on the device");
        if (!ggml_backend_supports_op(backend, result_))
            throw std::runtime_error("the backend has no such multiply");
        std::mt19937 engine(1);
        fill(w_, w_values_, engine);
        fill(x_, x_values_, engine);
    }

    double run() {
        const auto start = std::chrono::steady_clock::now();
        if (ggml_backend_graph_compute(backend_, graph_) != GGML_STATUS_SUCCESS)
            throw std::runtime_error("the backend failed");
        ggml_backend_synchronize(backend_);
        return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count();
    }

    double error() const {
        std::vector<float> y(static_cast<std::size_t>(ggml_nelements(result_)));
        ggml_backend_tensor_get(result_, y.data(), 0, y.size() * sizeof(float));
        const std::size_t in = static_cast<std::size_t>(shape_.in),
                          out = static_cast<std::size_t>(shape_.out);
        const std::size_t tokens = static_cast<std::size_t>(shape_.tokens);
        std::mt19937 engine(2);
        double worst = 0.0;
        for (int i = 0; i < 256; ++i) {
            const std::size_t at = engine() % y.size();
            const std::size_t o = at % out, t = at / out % tokens, b = at / out / tokens;
            double sum = 0.0, size = 0.0;
            for (std::size_t k = 0; k < in; ++k) {
                const double term = static_cast<double>(w_values_[(b * out + o) * in + k]) *
                                    static_cast<double>(x_values_[(b * tokens + t) * in + k]);
                sum += term;
                size += std::fabs(term);
            }
            worst = std::max(worst, std::fabs(static_cast<double>(y[at]) - sum) / size);
        }
        return worst;
    }

private:
    static void fill(ggml_tensor* tensor, std::vector<float>& values, std::mt19937& engine) {
        std::uniform_real_distribution<float> draw(-1.0f, 1.0f);
        values.resize(static_cast<std::size_t>(ggml_nelements(tensor)));
        for (float& value : values) value = draw(engine);
        ggml_backend_tensor_set(tensor, values.data(), 0, values.size() * sizeof(float));
    }

    struct Free {
        void operator()(ggml_context* context) const { ggml_free(context); }
        void operator()(ggml_backend_buffer_t buffer) const { ggml_backend_buffer_free(buffer); }
    };
    ggml_backend_t backend_;
    Shape shape_;
    std::unique_ptr<ggml_context, Free> context_;
    std::unique_ptr<ggml_backend_buffer, Free> buffer_;
    ggml_cgraph* graph_ = nullptr;
    ggml_tensor *w_ = nullptr, *x_ = nullptr, *result_ = nullptr;
    std::vector<float> w_values_, x_values_;
};

Shape parse(const char* text) {
    Shape shape;
    const int read = std::sscanf(text, "%ldx%ldx%ldx%ld", &shape.out, &shape.in, &shape.tokens, &shape.batch);
    if (read < 3) throw std::runtime_error(std::string("not a shape: ") + text);
    return shape;
}

void time_shape(ggml_backend_t backend, const char* name, double seconds) {
    const Shape shape = parse(name);
    Products one(backend, shape, 1);
    one.run();  // compiles
    one.run();
    const double once = one.run();
    const double error = one.error();
    // As many multiplies in a graph as take a third of the time, so that submitting them does not count.
    const int count = static_cast<int>(std::clamp(1e9 * seconds / 3.0 / once, 1.0, 200.0));
    Products batch(backend, shape, count);
    batch.run();
    std::printf("{\"shape\": \"%s\", \"batch\": %d, \"error\": %.3g, \"ns\": [", name, count, error);
    double total = 0.0;
    for (int turn = 0; turn < 3 || (total < 1e9 * seconds && turn < 1000); ++turn) {
        const double time = batch.run();
        total += time;
        std::printf("%s%.0f", turn ? ", " : "", time / count);
    }
    std::printf("]}");
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 4) {
        std::fprintf(stderr, "usage: ggml_vulkan BACKEND SECONDS OUTxINxTOKENS[xBATCH]...\n");
        return 2;
    }
    try {
        ggml_backend_reg_t registry = ggml_backend_load(argv[1]);
        if (!registry || ggml_backend_reg_dev_count(registry) == 0)
            throw std::runtime_error("no Vulkan device");
        ggml_backend_dev_t device = ggml_backend_reg_dev_get(registry, 0);
        const std::unique_ptr<ggml_backend, void (*)(ggml_backend_t)> backend(
            ggml_backend_dev_init(device, nullptr), ggml_backend_free);
        if (!backend) throw std::runtime_error("the device cannot be opened");
        std::printf("{\"device\": \"%s\", \"cases\": [", ggml_backend_dev_description(device));
        for (int i = 3; i < argc; ++i) {
            if (i > 3) std::printf(", ");
            time_shape(backend.get(), argv[i], std::atof(argv[2]));
        }
        std::printf("]}\n");
    } catch (const std::exception& error) {
        std::fprintf(stderr, "ggml_vulkan: %s\n", error.what());
        return 1;
    }
    return 0;
}
