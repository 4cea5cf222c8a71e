/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_MAGIC_H
#define STAPLE_MAGIC_H

/*
 * The way back from a void pointer. A callback, a thread and a cleanup get one
 * from httpd, from APR or from another room, and the compiler cannot tell
 * whether it is what they take it for. So a struct that is passed on like that
 * has a field `magic`, which is set where the struct is made:
 *
 *     #define ROUND_MAGIC 0x524F554Eu
 *     round->magic = ROUND_MAGIC;
 *
 * and STAPLE_CAST compares it. Another value is a fault in this program and in
 * nothing that it read, so the process ends there, by SIGABRT, rather than go
 * on with memory that is something else. Any thread of any process may call it.
 *
 * docs/contributing.md has the rule, and t/941-plain-code.t holds the sources
 * to it.
 */

#include <stddef.h>

#include <apr.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Of the field: a number that no other struct has. */
typedef apr_uint32_t staple_magic_t;

/**
 * The pointer as a pointer to that type, whose field `magic` is compared.
 * @param type with const before it where that is wanted
 * @param expected what the field was set to
 * @param pointer evaluated twice
 */
#define STAPLE_CAST(type, expected, pointer) \
    ((type *)(staple_magic_check((pointer), offsetof(type, magic), \
                                 (expected)), \
              (pointer)))

/** End the process unless there is a pointer, and that number at the offset. */
void staple_magic_check(const void *pointer, size_t offset,
                        staple_magic_t expected);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_MAGIC_H */
