// Arithmetic in f32 or, with REAL_F64, in f64: elements of one or two words.
//
//   REAL load_real(slot, uniform_element, lane_element)
//   void store_real(slot, uniform_element, lane_element, value)
#if defined(REAL_F32)
#define REAL float
#define load_real(slot, u, l) uintBitsToFloat(load(slot, u, l))
#define store_real(slot, u, l, value) store(slot, u, l, floatBitsToUint(value))
#elif defined(REAL_F64)
#define REAL double
#define load_real(slot, u, l) packDouble2x32(load_pair(slot, 2u * (u), 2u * (l)))
#define store_real(slot, u, l, value) store_pair(slot, 2u * (u), 2u * (l), unpackDouble2x32(value))
#else
#error "the build defines REAL_F32 or REAL_F64"
#endif
