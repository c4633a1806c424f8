// The element type of cooperative matrices, MATRIX_ELEMENT, by the build's ELEMENT_F16 or ELEMENT_BF16.

#if defined(ELEMENT_F16)
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#define MATRIX_ELEMENT float16_t
#elif defined(ELEMENT_BF16)
#extension GL_EXT_bfloat16 : require
#define MATRIX_ELEMENT bfloat16_t
#else
#error "the build defines ELEMENT_F16 or ELEMENT_BF16"
#endif
