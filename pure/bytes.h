/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_BYTES_H
#define STAPLE_BYTES_H

/*
 * Which kind of ASCII character a byte is, for the parsers in pure/. The C
 * library's functions are not used for this, because their answer depends on
 * the locale.
 */

#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

static inline int is_alpha(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static inline int is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

/** The value of a hex digit; -1: it is none. */
static inline int hex_value(unsigned char c)
{
    if (is_digit(c)) {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static inline int is_one_of(unsigned char c, const char *set)
{
    return c && strchr(set, c) != NULL;
}

/** Whether text is printable ASCII without a space. */
static inline int is_printable(const char *text)
{
    const unsigned char *c = (const unsigned char *)text;

    while (*c > ' ' && *c < 0x7f) {
        c++;
    }
    return !*c;
}

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_BYTES_H */
