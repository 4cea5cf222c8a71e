/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl lint: what a directive may be given. Pure.
 *
 * The one idea: what another room of the module parses (a ring's size, a
 * network, a time, a URL) is handed to that room, so that lint and the server
 * cannot disagree; a test compares with what httpd -t says to each value.
 */

#include "lint.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <apr_strings.h>

#include "staple_cache.h"
#include "staple_deny.h"

/* ----- arguments ----- */

apr_array_header_t *staplectl_args_split(const char *args, const char **rest,
                                         apr_pool_t *p)
{
    apr_array_header_t *list = apr_array_make(p, 2, sizeof(const char *));
    const char *arg = staple_value_next(&args, p);

    if (rest) {
        *rest = args;
    }
    while (*arg) {
        APR_ARRAY_PUSH(list, const char *) = arg;
        arg = staple_value_next(&args, p);
    }
    return list;
}

int staplectl_value_is_off(const char *value)
{
    return !strcasecmp(value, "off")
           || (*value && strspn(value, "0") == strlen(value));
}

/* ----- kinds ----- */

/* "a, b or c" names a, b and c. */
static int is_word(const char *value, const char *accepted)
{
    apr_size_t len = strlen(value);

    while (*accepted) {
        apr_size_t word = strcspn(accepted, ", ");

        if (word == len && !strncasecmp(value, accepted, len)
            && strcasecmp(value, "or")) {
            return 1;
        }
        accepted += word;
        accepted += strspn(accepted, ", ");
    }
    return 0;
}

/* range: "1 to 1024". */
static const char *check_count(const char *value, const char *range,
                               apr_pool_t *p)
{
    apr_size_t digits = strspn(value, "0123456789");
    apr_int64_t count = digits && !value[digits] && digits < 15
                        ? apr_atoi64(value) : -1;

    return count >= atoi(range) && count <= atoi(strrchr(range, ' ') + 1)
           ? NULL
           : apr_psprintf(p, "'%s' is no whole number from %s", value, range);
}

/* httpd's own; a module of somebody else's may bring another. */
static const char *check_provider(const char *value, apr_pool_t *p)
{
    static const char *const known[] = { "shmcb", "dbm", "memcache", "redis",
                                         "dc", "default" };
    apr_size_t len = strcspn(value, ":");
    apr_size_t i;

    for (i = 0; i < sizeof(known) / sizeof(*known); i++) {
        if (strlen(known[i]) == len && !strncmp(value, known[i], len)) {
            return NULL;
        }
    }
    return apr_psprintf(p, "httpd knows no provider '%.*s'; write "
                        "shmcb:path(size)", (int)len, value);
}

int staplectl_value_is_ring(const char *value)
{
    return !strcmp(value, "shmcb") || !strncmp(value, "shmcb:", 6);
}

const char *staplectl_value_ring(const char *value, apr_pool_t *p)
{
    staple_cache_spec_t spec;

    if (!staplectl_value_is_ring(value)
        || staple_cache_parse_spec(&spec, value[5] ? value + 6 : "", p)) {
        return NULL;
    }
    return spec.path ? spec.path : "";
}

static const char *check_cache(const char *value, apr_pool_t *p)
{
    staple_cache_spec_t spec;

    return staplectl_value_is_ring(value)
           ? staple_cache_parse_spec(&spec, value[5] ? value + 6 : "", p)
           : check_provider(value, p);
}

static const char *check_networks(const apr_array_header_t *list,
                                  apr_pool_t *p)
{
    staple_deny_t *deny = staple_deny_make(p);
    int i;

    for (i = 0; i < list->nelts; i++) {
        const char *word = APR_ARRAY_IDX(list, i, const char *);
        const char *wrong = strstr(word, "${") ? NULL
                            : staple_deny_add(deny, word, p);

        if (wrong) {
            return apr_psprintf(p, "'%s' %s", word, wrong);
        }
    }
    return NULL;
}

/* ----- the whole ----- */

/* Quotation marks out of a word processor or a blog, which are none here. */
static int has_typographic_quote(const char *args)
{
    return strstr(args, "\xe2\x80\x9c") || strstr(args, "\xe2\x80\x9d")
           || strstr(args, "\xe2\x80\x98") || strstr(args, "\xe2\x80\x99");
}

static int takes_several(staplectl_value_e kind)
{
    return kind == STAPLECTL_VALUE_NETWORKS || kind == STAPLECTL_VALUE_PATHS
           || kind == STAPLECTL_VALUE_PROGRAM || kind == STAPLECTL_VALUE_ANY;
}

/* A value that is right or refused. */
static staple_value_e check_strict(const staplectl_directive_t *directive,
                                   const char *value, const char **words,
                                   apr_pool_t *p)
{
    switch (directive->kind) {
    case STAPLECTL_VALUE_WORD:
        *words = is_word(value, directive->accepted)
                 ? NULL : apr_psprintf(p, "'%s' is not accepted; write %s",
                                       value, directive->accepted);
        break;
    case STAPLECTL_VALUE_COUNT:
        *words = check_count(value, directive->accepted, p);
        break;
    case STAPLECTL_VALUE_CACHE:
        *words = check_cache(value, p);
        break;
    case STAPLECTL_VALUE_SHARE:
        *words = check_provider(value, p);
        break;
    default:
        break;
    }
    return *words ? STAPLE_VALUE_REFUSED : STAPLE_VALUE_TAKEN;
}

static staple_value_e check_one(const staplectl_directive_t *directive,
                                const char *value, const char **words,
                                apr_pool_t *p)
{
    staple_value_span_t rule = { directive->accepted,
                                 directive->owner == STAPLECTL_OF_SSL };
    staple_value_proxy_t proxy;
    apr_interval_time_t span;
    const char *url;

    switch (directive->kind) {
    case STAPLECTL_VALUE_SPAN:
        return staple_value_span(&span, value, &rule, words, p);
    case STAPLECTL_VALUE_AGE:
        return staple_value_age(&span, value, words, p);
    case STAPLECTL_VALUE_URL:
        return staple_value_url(&url, value, words, p);
    case STAPLECTL_VALUE_PROXY:
        return staple_value_proxy(&proxy, value, words, p);
    default:
        return check_strict(directive, value, words, p);
    }
}

/* What is wrong with the number of arguments, or NULL. */
static const char *check_number(const staplectl_directive_t *directive,
                                const apr_array_header_t *list,
                                const char *rest)
{
    if (!list->nelts) {
        return "its argument is missing";
    }
    if (!*rest || takes_several(directive->kind)) {
        return NULL;
    }
    return *rest == '#'
           ? "it takes one argument, and a comment has to be a line of its own"
           : "it takes one argument";
}

static staple_value_e check(const staplectl_directive_t *directive,
                            const char *args, const char **words,
                            apr_pool_t *p)
{
    const char *rest, *first;
    apr_array_header_t *list = staplectl_args_split(args, &rest, p);
    int is_flag = directive->kind == STAPLECTL_VALUE_WORD
                  && directive->owner == STAPLECTL_OF_SSL;
    int is_on;

    first = list->nelts ? APR_ARRAY_IDX(list, 0, const char *) : "";
    if (is_flag && list->nelts && !strstr(first, "${")) {
        return staple_value_flag(&is_on, args, words, p);
    }
    *words = is_flag && list->nelts ? NULL
                                    : check_number(directive, list, rest);
    if (!*words && directive->kind == STAPLECTL_VALUE_NETWORKS) {
        *words = check_networks(list, p);
    }
    if (*words) {
        return STAPLE_VALUE_REFUSED;
    }
    return strstr(first, "${") && directive->kind != STAPLECTL_VALUE_CACHE
           ? STAPLE_VALUE_TAKEN : check_one(directive, first, words, p);
}

staple_value_e staplectl_value_check(const staplectl_directive_t *directive,
                                     const char *args, const char **words,
                                     apr_pool_t *p)
{
    staple_value_e result;

    *words = NULL;
    if (directive->kind == STAPLECTL_VALUE_ANY) {
        return STAPLE_VALUE_TAKEN;
    }
    result = check(directive, args, words, p);
    if (result == STAPLE_VALUE_REFUSED && has_typographic_quote(args)) {
        *words = "typographic quotation marks are none to httpd; write "
                 "\"...\"";
    }
    return result;
}
