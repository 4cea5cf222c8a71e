/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The writer of JSON.
 *
 * The one idea: a separator is written before a value, never after it, so that
 * all there is to remember is whether the innermost object or array is empty.
 * The members of the document and the elements of its arrays stand on lines of
 * their own, what is deeper does not: a list of certificates has one a line.
 */

#include "staple_json.h"

#include <string.h>

#include <apr_strings.h>

/* Down to here each value begins a line. */
#define LINES_DEPTH 2

/* What stands for bytes that are no UTF-8. */
#define REPLACEMENT 0xfffdu

static void put(const staple_json_t *json, const char *text)
{
    json->write(json->baton, text, strlen(text));
}

void staple_json_start(staple_json_t *json, staple_json_write_fn write,
                       void *baton)
{
    json->write = write;
    json->baton = baton;
    json->depth = 0;
    json->is_first = 1;
}

/* ----- strings ----- */

/**
 * The character at text, which is not at its end (RFC 3629).
 * @param len bytes that it takes
 */
static apr_uint32_t next_character(const char *text, apr_size_t *len)
{
    static const apr_uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };
    const unsigned char *bytes = (const unsigned char *)text;
    apr_uint32_t character = bytes[0];
    apr_size_t more, i;

    *len = 1;
    if (character < 0x80) {
        return character;
    }
    if (character < 0xc2 || character > 0xf4) {
        return REPLACEMENT;
    }
    more = 1u + (character >= 0xe0) + (character >= 0xf0);
    character &= 0x3fu >> more;
    for (i = 1; i <= more; i++) {
        if ((bytes[i] & 0xc0) != 0x80) {
            return REPLACEMENT;
        }
        character = character << 6 | (bytes[i] & 0x3fu);
    }
    if (character < least[more] || character > 0x10ffff
        || (character >= 0xd800 && character <= 0xdfff)) {
        return REPLACEMENT;
    }
    *len = more + 1;
    return character;
}

/* Beyond the first 65536 characters JSON wants a pair (RFC 8259 7). */
static void put_escaped(const staple_json_t *json, apr_uint32_t character)
{
    char text[16];

    if (character > 0xffff) {
        character -= 0x10000;
        apr_snprintf(text, sizeof(text), "\\u%04x\\u%04x",
                     0xd800u + (unsigned)(character >> 10),
                     0xdc00u + (unsigned)(character & 0x3ff));
    }
    else {
        apr_snprintf(text, sizeof(text), "\\u%04x", (unsigned)character);
    }
    put(json, text);
}

static int is_plain(char c)
{
    return c >= ' ' && c <= '~' && c != '"' && c != '\\';
}

static void put_quoted(const staple_json_t *json, const char *text)
{
    put(json, "\"");
    while (*text) {
        apr_size_t len = 0;

        while (is_plain(text[len])) {
            len++;
        }
        if (len) {
            json->write(json->baton, text, len);
        }
        else {
            put_escaped(json, next_character(text, &len));
        }
        text += len;
    }
    put(json, "\"");
}

/* ----- values ----- */

/* What stands before a value: a separator, and its name. */
static void begin_value(staple_json_t *json, const char *key)
{
    if (!json->is_first) {
        put(json, ",");
    }
    if (json->depth && json->depth <= LINES_DEPTH) {
        put(json, "\n");
    }
    json->is_first = 0;
    if (key) {
        put_quoted(json, key);
        put(json, ": ");
    }
}

void staple_json_open(staple_json_t *json, const char *key, char bracket)
{
    begin_value(json, key);
    json->write(json->baton, &bracket, 1);
    json->depth++;
    json->is_first = 1;
}

void staple_json_close(staple_json_t *json, char bracket)
{
    json->write(json->baton, &bracket, 1);
    json->depth--;
    json->is_first = 0;
    if (!json->depth) {
        put(json, "\n");
    }
}

void staple_json_string(staple_json_t *json, const char *key, const char *text)
{
    begin_value(json, key);
    if (text) {
        put_quoted(json, text);
    }
    else {
        put(json, "null");
    }
}

void staple_json_words(staple_json_t *json, const char *key, const char *text)
{
    staple_json_string(json, key, text && *text ? text : NULL);
}

void staple_json_strings(staple_json_t *json, const char *key,
                         const apr_array_header_t *texts)
{
    int i;

    staple_json_open(json, key, '[');
    for (i = 0; i < texts->nelts; i++) {
        staple_json_string(json, NULL, APR_ARRAY_IDX(texts, i, const char *));
    }
    staple_json_close(json, ']');
}

void staple_json_number(staple_json_t *json, const char *key,
                        apr_int64_t number)
{
    char text[24];

    begin_value(json, key);
    apr_snprintf(text, sizeof(text), "%" APR_INT64_T_FMT, number);
    put(json, text);
}

void staple_json_truth(staple_json_t *json, const char *key, int is_true)
{
    begin_value(json, key);
    put(json, is_true ? "true" : "false");
}

void staple_json_moment(staple_json_t *json, const char *key, apr_time_t t)
{
    apr_time_exp_t at;
    apr_size_t len;
    char text[32];
    int is_known = t && !apr_time_exp_gmt(&at, t)
                   && !apr_strftime(text, &len, sizeof(text),
                                    "%Y-%m-%dT%H:%M:%SZ", &at);

    staple_json_string(json, key, is_known ? text : NULL);
}

void staple_json_span(staple_json_t *json, const char *key,
                      apr_interval_time_t span)
{
    char text[32];

    begin_value(json, key);
    if (span < 0) {
        put(json, "null");
        return;
    }
    apr_snprintf(text, sizeof(text), "%" APR_TIME_T_FMT ".%03d",
                 apr_time_sec(span), (int)apr_time_msec(span));
    put(json, text);
}
