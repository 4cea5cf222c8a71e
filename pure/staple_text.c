/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Bytes as text, see include/staple_text.h for the contract. The C library's
 * isprint() is not asked: its answer depends on the locale.
 */

#include "staple_text.h"

#include <string.h>

#include <apr_strings.h>

static const char digits[] = "0123456789ABCDEF";
static const char lower_digits[] = "0123456789abcdef";

/* Put one byte as it is shown; returns where the next one goes. */
static char *put_byte(char *to, unsigned char c)
{
    if (c == '\t') {
        *to++ = ' ';
    }
    else if (c >= ' ' && c <= '~') {
        *to++ = (char)c;
    }
    else {
        *to++ = '\\';
        *to++ = 'x';
        *to++ = lower_digits[c >> 4];
        *to++ = lower_digits[c & 15];
    }
    return to;
}

/* A byte of a name. */
static char *put_name_byte(char *to, unsigned char c)
{
    if (c == '\t') {
        *to++ = ' ';
    }
    else if (c >= ' ' && c <= '~' && c != '"' && c != '\\') {
        *to++ = (char)c;
    }
    else {
        *to++ = '%';
        *to++ = digits[c >> 4];
        *to++ = digits[c & 15];
    }
    return to;
}

/* Bytes of a text, each as put() writes it in `longest` characters at most. */
static const char *convert(const char *text, apr_size_t len, apr_size_t max,
                           char *(*put)(char *to, unsigned char c),
                           apr_size_t longest, apr_pool_t *p)
{
    apr_size_t shown = len < max ? len : max;
    char *out = apr_palloc(p, shown * longest + sizeof("..."));
    char *to = out;
    apr_size_t i;

    for (i = 0; i < shown; i++) {
        to = put(to, (unsigned char)text[i]);
    }
    strcpy(to, shown < len ? "..." : "");
    return out;
}

const char *staple_text_printable(const char *text, apr_size_t len,
                                  apr_size_t max, apr_pool_t *p)
{
    return convert(text, len, max, put_byte, 4, p);
}

const char *staple_text_string(const char *text, apr_pool_t *p)
{
    apr_size_t len = strlen(text);

    return staple_text_printable(text, len, len, p);
}

const char *staple_text_name(const char *text, apr_size_t len, apr_size_t max,
                             apr_pool_t *p)
{
    return convert(text, len, max, put_name_byte, 3, p);
}

/* Two digits a byte, and a separator between two bytes unless it is 0. */
static const char *hex_text(const unsigned char *bytes, apr_size_t len,
                            char separator, apr_pool_t *p)
{
    char *text = apr_palloc(p, 3 * len + 1);
    char *to = text;
    apr_size_t i;

    for (i = 0; i < len; i++) {
        if (i && separator) {
            *to++ = separator;
        }
        *to++ = digits[bytes[i] >> 4];
        *to++ = digits[bytes[i] & 15];
    }
    *to = '\0';
    return text;
}

const char *staple_text_hex(const unsigned char *bytes, apr_size_t len,
                            apr_pool_t *p)
{
    return hex_text(bytes, len, '\0', p);
}

const char *staple_text_fingerprint(const unsigned char *bytes, apr_size_t len,
                                    apr_pool_t *p)
{
    return hex_text(bytes, len, ':', p);
}

const char *staple_text_error(apr_status_t rv, apr_pool_t *p)
{
    char text[128];

    return apr_pstrdup(p, apr_strerror(rv, text, sizeof(text)));
}

const char *staple_text_plural(apr_int64_t count)
{
    return count == 1 ? "" : "s";
}
