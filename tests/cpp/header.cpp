// The C++ header alone, in every dialect and without exceptions: compiled, never run.
#include "keyface.hpp"

#include <type_traits>

static_assert(!std::is_copy_constructible<kf::pack>::value, "handles are not copied");
static_assert(std::is_nothrow_move_constructible<kf::gallery>::value, "handles are moved");
static_assert(std::is_nothrow_move_assignable<kf::decider>::value, "handles are moved");
static_assert(std::is_standard_layout<kf_frame>::value && std::is_trivial<kf_frame>::value, "a C struct");
