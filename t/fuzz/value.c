/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Fuzz target: what a directive may be given, by whoever may write a part of
 * the configuration. Whatever the text, it is taken, replaced or refused, and
 * the last two with words that can be shown.
 *
 * The first byte of an input says which kind of directive it is for.
 */

#include "staple_cache.h"
#include "staple_deny.h"
#include "staple_value.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(staple_value_e value, const char *words)
{
    require(value == STAPLE_VALUE_TAKEN || (words && *words));
}

static void try_span(const char *text, int is_lenient, apr_pool_t *p)
{
    staple_value_span_t rule = { is_lenient ? "0" : "1ms", is_lenient };
    apr_interval_time_t span = 0;
    const char *words = NULL;
    staple_value_e value = staple_value_span(&span, text, &rule, &words, p);

    check(value, words);
    require(value == STAPLE_VALUE_REFUSED || span >= STAPLE_VALUE_DEFAULT);
    check(value = staple_value_age(&span, text, &words, p), words);
    require(value == STAPLE_VALUE_REFUSED || span >= 0);
}

/* What is used is a URL that is read as it is written. */
static void try_url(const char *text, apr_pool_t *p)
{
    const char *url = NULL, *again = NULL, *words = NULL;

    check(staple_value_url(&url, text, &words, p), words);
    if (url) {
        require(staple_value_url(&again, url, &words, p) == STAPLE_VALUE_TAKEN
                && !strcmp(url, again));
    }
}

static void try_proxy(const char *text, apr_pool_t *p)
{
    staple_value_proxy_t proxy = { NULL, NULL, NULL };
    const char *words = NULL;
    staple_value_e value = staple_value_proxy(&proxy, text, &words, p);

    check(value, words);
    require(!proxy.url || value == STAPLE_VALUE_REFUSED || proxy.shown);
    require(!proxy.url || !strchr(proxy.url, '@'));
    require(staple_value_masked(text, p) != NULL);
}

/* On or off, or the words of a line one by one. */
static void try_line(const char *text, apr_pool_t *p)
{
    const char *words = NULL;
    int is_on;

    check(staple_value_flag(&is_on, text, &words, p), words);
    while (*text) {
        const char *before = text;

        staple_value_next(&text, p);
        require(text > before);
    }
}

static void try_ring(const char *text, apr_pool_t *p)
{
    staple_cache_spec_t spec;

    if (!staple_cache_parse_spec(&spec, text, p)) {
        require(spec.size >= STAPLE_CACHE_SIZE_MIN);
    }
}

/* A word for StapleDenyResponder, and an address to judge. */
static void try_deny(const char *text, apr_pool_t *p)
{
    staple_deny_t *deny = staple_deny_make(p);
    const char *address = strchr(text, ' ');
    const char *word = address
                       ? apr_pstrmemdup(p, text, (apr_size_t)(address - text))
                       : text;

    staple_deny_add(deny, word, p);
    address = address ? address + 1 : word;
    staple_deny_trust(deny, word, 80);
    staple_deny_refusal(deny, "responder.test", address, 80);
    staple_deny_refusal(deny, word, address, (apr_uint16_t)strlen(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static apr_pool_t *pool;
    const char *text;

    if (!pool) {
        apr_initialize();
        apr_pool_create(&pool, NULL);
    }
    if (!size) {
        return 0;
    }
    text = apr_pstrmemdup(pool, (const char *)data + 1, size - 1);
    switch (data[0] % 7) {
    case 0:
    case 1:
        try_span(text, data[0] % 7, pool);
        break;
    case 2:
        try_url(text, pool);
        break;
    case 3:
        try_proxy(text, pool);
        break;
    case 4:
        try_line(text, pool);
        break;
    case 5:
        try_ring(text, pool);
        break;
    default:
        try_deny(text, pool);
        break;
    }
    apr_pool_clear(pool);
    return 0;
}
