/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Proves that the writer of JSON puts separators where they belong, that each
 * kind of value has its form, and that any bytes become a string that is
 * printable ASCII and means the same.
 */

#include <apr_general.h>
#include <apr_strings.h>

#include "json_out.h"
#include "tap.h"

static apr_pool_t *pool;

/* A document of one string. */
static const char *string(const char *text)
{
    staple_json_t json;

    start(&json);
    staple_json_string(&json, NULL, text);
    return out;
}

static void test_strings(void)
{
    static const struct {
        const char *text;
        const char *json;
    } cases[] = {
        { "", "\"\"" },
        { "plain", "\"plain\"" },
        { "\"\\", "\"\\u0022\\u005c\"" },
        { "\n\x1b[2J\x7f", "\"\\u000a\\u001b[2J\\u007f\"" },
        { "M\xc3\xbcnchen", "\"M\\u00fcnchen\"" },
        { "\xe2\x82\xac", "\"\\u20ac\"" },
        { "\xf0\x9f\x98\x80", "\"\\ud83d\\ude00\"" },
        /* Not UTF-8: alone, cut, too long a form, half of a pair, too large. */
        { "\xff!", "\"\\ufffd!\"" },
        { "\xc3", "\"\\ufffd\"" },
        { "\xe2\x82", "\"\\ufffd\\ufffd\"" },
        { "\xc0\xaf", "\"\\ufffd\\ufffd\"" },
        { "\xe0\x80\xaf", "\"\\ufffd\\ufffd\\ufffd\"" },
        { "\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"" },
        { "\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\"" },
        { NULL, "null" },
    };
    apr_size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        is_str(string(cases[i].text), cases[i].json,
               apr_psprintf(pool, "string %d", (int)i));
    }
}

static void test_values(void)
{
    staple_json_t json;

    start(&json);
    staple_json_open(&json, NULL, '[');
    json.depth = 10; /* no line of its own for each */
    staple_json_words(&json, NULL, "");
    staple_json_words(&json, NULL, NULL);
    staple_json_words(&json, NULL, "a");
    staple_json_number(&json, NULL, APR_INT64_C(-9007199254740993));
    staple_json_truth(&json, NULL, 1);
    staple_json_truth(&json, NULL, 0);
    staple_json_moment(&json, NULL, 0);
    staple_json_moment(&json, NULL, apr_time_from_sec(1769860800));
    staple_json_span(&json, NULL, -1);
    staple_json_span(&json, NULL, 0);
    staple_json_span(&json, NULL, apr_time_from_msec(61005));
    is_str(out, "[null,null,\"a\",-9007199254740993,true,false,null,"
           "\"2026-01-31T12:00:00Z\",null,0.000,61.005", "each kind");
}

static void test_structure(void)
{
    apr_array_header_t *texts = apr_array_make(pool, 2, sizeof(const char *));
    staple_json_t json;

    start(&json);
    staple_json_open(&json, NULL, '{');
    staple_json_close(&json, '}');
    is_str(out, "{}\n", "an empty document");

    APR_ARRAY_PUSH(texts, const char *) = "x";
    APR_ARRAY_PUSH(texts, const char *) = "y";
    start(&json);
    staple_json_open(&json, NULL, '{');
    staple_json_number(&json, "a", 1);
    staple_json_open(&json, "b", '[');
    staple_json_open(&json, NULL, '{');
    staple_json_number(&json, "c", 2);
    staple_json_strings(&json, "d", texts);
    staple_json_close(&json, '}');
    staple_json_open(&json, NULL, '{');
    staple_json_close(&json, '}');
    staple_json_close(&json, ']');
    staple_json_string(&json, "e", "f");
    staple_json_close(&json, '}');
    is_str(out, "{\n\"a\": 1,\n\"b\": [\n{\"c\": 2,\"d\": [\"x\",\"y\"]},\n{}],"
           "\n\"e\": \"f\"}\n", "one element a line");
}

int main(void)
{
    apr_initialize();
    apr_pool_create(&pool, NULL);
    test_strings();
    test_values();
    test_structure();
    apr_pool_destroy(pool);
    apr_terminate();
    return tap_done();
}
