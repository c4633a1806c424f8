# Writes revision.hpp with the state of the working tree, at every build; the file changes only when that does.
execute_process(COMMAND git describe --always --dirty --abbrev=12 WORKING_DIRECTORY "${SOURCE}"
    OUTPUT_VARIABLE revision OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed)
    set(revision "")
endif()
file(CONFIGURE OUTPUT "${OUTPUT}" CONTENT [[
#pragma once

namespace danaus::bench {

/// `git describe` of what was built; "" outside a repository.
inline constexpr const char* revision = "@revision@";

}  // namespace danaus::bench
]] @ONLY)
