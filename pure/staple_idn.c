/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * International host names as people write them: Punycode (RFC 3492) decoded.
 */

#include "staple_idn.h"

#include <string.h>

#include <apr_cstr.h>
#include <apr_strings.h>

#define LABEL_MAX 63
#define PREFIX "xn--"

/* The parameters of Punycode (RFC 3492 5). */
enum { BASE = 36, TMIN = 1, TMAX = 26, SKEW = 38, DAMP = 700, BIAS = 72,
       FIRST = 128 };

static apr_uint32_t adapt(apr_uint32_t delta, apr_uint32_t count, int is_first)
{
    apr_uint32_t k = 0;

    delta = is_first ? delta / DAMP : delta / 2;
    delta += delta / count;
    while (delta > (BASE - TMIN) * TMAX / 2) {
        delta /= BASE - TMIN;
        k += BASE;
    }
    return k + (BASE - TMIN + 1) * delta / (delta + SKEW);
}

/** @return 0 .. 35, or BASE: it is no digit */
static apr_uint32_t digit_value(char c)
{
    if (c >= 'a' && c <= 'z') {
        return (apr_uint32_t)(c - 'a');
    }
    if (c >= 'A' && c <= 'Z') {
        return (apr_uint32_t)(c - 'A');
    }
    return c >= '0' && c <= '9' ? (apr_uint32_t)(c - '0' + 26) : BASE;
}

/* What separates the digits of one number from those of the next. */
static apr_uint32_t threshold(apr_uint32_t k, apr_uint32_t bias)
{
    if (k <= bias) {
        return TMIN;
    }
    return k >= bias + TMAX ? TMAX : k - bias;
}

/**
 * The next number of a label (RFC 3492 3.3).
 * @return where its digits end; NULL: they are no number
 */
static const char *read_delta(const char *at, const char *end,
                              apr_uint32_t bias, apr_uint32_t *delta)
{
    apr_uint32_t weight = 1, k, digit, t;

    *delta = 0;
    for (k = BASE; at < end; k += BASE) {
        digit = digit_value(*at++);
        if (digit == BASE || digit > (0x7fffffffu - *delta) / weight) {
            return NULL;
        }
        *delta += digit * weight;
        t = threshold(k, bias);
        if (digit < t) {
            return at;
        }
        if (weight > 0x7fffffffu / (BASE - t)) {
            return NULL;
        }
        weight *= BASE - t;
    }
    return NULL;
}

/**
 * Decode what follows the prefix of a label.
 * @param out LABEL_MAX characters
 * @return how many there are; 0: it is badly encoded
 */
static apr_uint32_t decode_label(const char *label, const char *end,
                                 apr_uint32_t *out)
{
    const char *dash = end, *at;
    apr_uint32_t count = 0, n = FIRST, i = 0, bias = BIAS, delta;

    while (dash > label && dash[-1] != '-') {
        dash--;
    }
    for (at = label; at + 1 < dash; at++) {
        out[count++] = (unsigned char)*at;
    }
    for (at = dash; at < end; i++) {
        at = read_delta(at, end, bias, &delta);
        if (!at || count == LABEL_MAX) {
            return 0;
        }
        i += delta;
        count++;
        bias = adapt(delta, count, i == delta);
        n += i / count;
        i %= count;
        if (n > 0x10ffff) {
            return 0;
        }
        memmove(out + i + 1, out + i, (count - 1 - i) * sizeof(*out));
        out[i] = n;
    }
    return count;
}

/* Ranges of scripts that are written in names; no controls, no spaces, no
 * marks of direction, nothing private. */
static int is_visible(apr_uint32_t c)
{
    static const struct {
        apr_uint32_t first, last;
    } ranges[] = { { '-', '-' }, { '0', '9' }, { 'a', 'z' }, { 0xdf, 0x2af },
                   { 0x370, 0x5f4 }, { 0x620, 0x6d3 }, { 0x900, 0x1fff },
                   { 0x3005, 0x3007 }, { 0x3041, 0x30ff }, { 0x3400, 0x9fff },
                   { 0xac00, 0xd7a3 }, { 0x20000, 0x2ffff } };
    apr_size_t i;

    for (i = 0; i < sizeof(ranges) / sizeof(*ranges); i++) {
        if (c >= ranges[i].first && c <= ranges[i].last) {
            return !(c >= 0x180b && c <= 0x180f) && c != 0x115f
                   && c != 0x1160 && c != 0x17b4 && c != 0x17b5
                   && c != 0x1680;
        }
    }
    return 0;
}

/* Whether a label may be shown decoded: what is all ASCII had no reason to be
 * encoded, but to look like another name. */
static int is_readable(const apr_uint32_t *characters, apr_uint32_t count)
{
    int has_foreign = 0;
    apr_uint32_t i;

    for (i = 0; i < count; i++) {
        if (!is_visible(characters[i])) {
            return 0;
        }
        has_foreign |= characters[i] >= FIRST;
    }
    return has_foreign;
}

/* UTF-8 (RFC 3629). @return where it ends */
static char *put_character(char *to, apr_uint32_t c)
{
    if (c < 0x80) {
        *to++ = (char)c;
        return to;
    }
    if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
    }
    else if (c < 0x10000) {
        *to++ = (char)(0xe0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
    }
    else {
        *to++ = (char)(0xf0 | c >> 18);
        *to++ = (char)(0x80 | (c >> 12 & 0x3f));
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
    }
    *to++ = (char)(0x80 | (c & 0x3f));
    return to;
}

/**
 * Write a label, decoded if it can be.
 * @param to room for 4 bytes a character
 * @return where it ends
 */
static char *put_label(char *to, const char *label, apr_size_t len)
{
    apr_uint32_t characters[LABEL_MAX];
    apr_size_t prefix = strlen(PREFIX);
    apr_uint32_t count = 0, i;

    if (len > prefix && len <= LABEL_MAX
        && !apr_cstr_casecmpn(label, PREFIX, prefix)) {
        count = decode_label(label + prefix, label + len, characters);
    }
    if (!is_readable(characters, count)) {
        memcpy(to, label, len);
        return to + len;
    }
    for (i = 0; i < count; i++) {
        to = put_character(to, characters[i]);
    }
    return to;
}

const char *staple_idn_text(const char *name, apr_pool_t *p)
{
    char *text = apr_palloc(p, 4 * strlen(name) + 1), *to = text;
    const char *from = name;

    while (*from) {
        apr_size_t len = strcspn(from, ".:");

        to = put_label(to, from, len);
        from += len;
        if (*from) {
            *to++ = *from++;
        }
    }
    *to = '\0';
    return strcmp(text, name) ? text : name;
}
