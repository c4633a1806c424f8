// The storage blocks of descriptor access, one per slot so that validation follows reads and writes of each apart.
// Called by access.glsl, which defines DECLARE_.

#ifndef SLOT_0
#define SLOT_0
#endif
DECLARE_(0)
#if SLOTS > 1
#ifndef SLOT_1
#define SLOT_1
#endif
DECLARE_(1)
#endif
#if SLOTS > 2
#ifndef SLOT_2
#define SLOT_2
#endif
DECLARE_(2)
#endif
#if SLOTS > 3
#ifndef SLOT_3
#define SLOT_3
#endif
DECLARE_(3)
#endif
#if SLOTS > 4
#ifndef SLOT_4
#define SLOT_4
#endif
DECLARE_(4)
#endif
#if SLOTS > 5
#ifndef SLOT_5
#define SLOT_5
#endif
DECLARE_(5)
#endif
#if SLOTS > 6
#ifndef SLOT_6
#define SLOT_6
#endif
DECLARE_(6)
#endif
#if SLOTS > 7
#ifndef SLOT_7
#define SLOT_7
#endif
DECLARE_(7)
#endif
