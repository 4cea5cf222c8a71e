/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What lives here: the comparison behind STAPLE_CAST.
 */

#include "staple_magic.h"

#include <stdlib.h>
#include <string.h>

void staple_magic_check(const void *pointer, size_t offset,
                        staple_magic_t expected)
{
    staple_magic_t found = 0;

    if (pointer) {
        memcpy(&found, (const char *)pointer + offset, sizeof(found));
    }
    if (found != expected) {
        abort();
    }
}
