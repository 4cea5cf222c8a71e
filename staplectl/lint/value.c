/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl lint: what a directive may be given. Pure.
 *
 * The one idea: what another room of the module parses (a ring's size, a
 * network, a URL) is handed to that room. Words and times are parsed by
 * staple_config.c with httpd's own functions, which a program outside of the
 * server cannot call; here is the rule alone, and a test compares it with what
 * httpd -t says to each value.
 */

#include "lint.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <apr_lib.h>
#include <apr_strings.h>
#include <apr_uri.h>

#include "staple_cache.h"
#include "staple_deny.h"

#define TEN_YEARS APR_INT64_C(315360000) /* seconds */

/* ----- arguments ----- */

/* One argument, and text moved behind it and what space follows: the rules of
 * ap_getword_conf. */
static const char *next_arg(const char **text, apr_pool_t *p)
{
    const char *at = *text;
    char quote, *out, *arg;

    while (apr_isspace(*at)) {
        at++;
    }
    arg = out = apr_palloc(p, strlen(at) + 1);
    quote = *at == '"' || *at == '\'' ? *at++ : '\0';
    while (*at && (quote ? *at != quote : !apr_isspace(*at))) {
        if (*at == '\\' && (at[1] == '\\' || (quote && at[1] == quote))) {
            at++;
        }
        *out++ = *at++;
    }
    *out = '\0';
    at += quote && *at;
    while (apr_isspace(*at)) {
        at++;
    }
    *text = at;
    return arg;
}

apr_array_header_t *staplectl_args_split(const char *args, const char **rest,
                                         apr_pool_t *p)
{
    apr_array_header_t *list = apr_array_make(p, 2, sizeof(const char *));
    const char *arg = next_arg(&args, p);

    if (rest) {
        *rest = args;
    }
    while (*arg) {
        APR_ARRAY_PUSH(list, const char *) = arg;
        arg = next_arg(&args, p);
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

/* In microseconds; -1: it is none, or none that is below ten years. */
static apr_int64_t read_span(const char *value)
{
    static const struct {
        const char *suffix;
        apr_int64_t factor;
    } units[] = {
        { "", APR_USEC_PER_SEC }, { "s", APR_USEC_PER_SEC }, { "ms", 1000 },
        { "mi", 60 * APR_USEC_PER_SEC }, { "min", 60 * APR_USEC_PER_SEC },
        { "h", 3600 * APR_USEC_PER_SEC }
    };
    apr_size_t digits = strspn(value, "0123456789");
    apr_int64_t number = digits && digits < 15 ? apr_atoi64(value) : -1;
    apr_size_t i;

    for (i = 0; number >= 0 && i < sizeof(units) / sizeof(*units); i++) {
        /* httpd looks at two letters, and wants those small */
        if (!strcasecmp(value + digits, units[i].suffix)
            && !strncmp(value + digits, units[i].suffix, 2)) {
            return number > TEN_YEARS * APR_USEC_PER_SEC / units[i].factor
                   ? -1 : number * units[i].factor;
        }
    }
    return -1;
}

static const char *check_span(const char *value, const char *least,
                              apr_pool_t *p)
{
    apr_int64_t span = read_span(value);

    return span >= 0 && span >= read_span(least)
           ? NULL
           : apr_psprintf(p, "'%s' is no time between %s and ten years; write "
                          "seconds (60) or a number with ms, s, min or h "
                          "(5min)", value, least);
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

static int is_http_url(const char *value, int is_proxy, apr_pool_t *p)
{
    apr_uri_t uri;
    const char *at = value;

    while (*at > ' ' && *at <= '~') {
        at++;
    }
    if (*at || apr_uri_parse(p, value, &uri) != APR_SUCCESS || !uri.scheme
        || strcasecmp(uri.scheme, "http") || !uri.hostname || !*uri.hostname
        || uri.user || uri.password || uri.fragment) {
        return 0;
    }
    if (uri.port_str && (apr_atoi64(uri.port_str) < 1
                         || apr_atoi64(uri.port_str) > 65535)) {
        return 0;
    }
    return !is_proxy
           || ((!uri.path || !strcmp(uri.path, "/")) && !uri.query);
}

static const char *check_url(const char *value, int is_proxy, apr_pool_t *p)
{
    return is_http_url(value, is_proxy, p)
           ? NULL
           : apr_psprintf(p, "'%s' is not accepted; write %s", value,
                          is_proxy ? "http://host:port of the proxy"
                                   : "the responder's http:// URL");
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

static const char *check_one(const staplectl_directive_t *directive,
                             const char *value, apr_pool_t *p)
{
    switch (directive->kind) {
    case STAPLECTL_VALUE_WORD:
        return is_word(value, directive->accepted)
               ? NULL : apr_psprintf(p, "'%s' is not accepted; write %s",
                                     value, directive->accepted);
    case STAPLECTL_VALUE_SPAN:
        return check_span(value, directive->accepted, p);
    case STAPLECTL_VALUE_COUNT:
        return check_count(value, directive->accepted, p);
    case STAPLECTL_VALUE_URL:
        return check_url(value, 0, p);
    case STAPLECTL_VALUE_PROXY:
        return check_url(value, 1, p);
    case STAPLECTL_VALUE_CACHE:
        return check_cache(value, p);
    case STAPLECTL_VALUE_SHARE:
        return check_provider(value, p);
    default:
        return NULL;
    }
}

static const char *check_list(const staplectl_directive_t *directive,
                              const apr_array_header_t *list,
                              const char *rest, apr_pool_t *p)
{
    const char *first;

    if (!list->nelts) {
        return "its argument is missing";
    }
    if (directive->kind == STAPLECTL_VALUE_NETWORKS) {
        return check_networks(list, p);
    }
    if (*rest && !takes_several(directive->kind)) {
        return *rest == '#'
               ? "it takes one argument, and a comment has to be a line of its "
                 "own" : "it takes one argument";
    }
    first = APR_ARRAY_IDX(list, 0, const char *);
    return strstr(first, "${") && directive->kind != STAPLECTL_VALUE_CACHE
           ? NULL : check_one(directive, first, p);
}

const char *staplectl_value_check(const staplectl_directive_t *directive,
                                  const char *args, apr_pool_t *p)
{
    const char *rest, *wrong;
    apr_array_header_t *list = staplectl_args_split(args, &rest, p);

    if (directive->kind == STAPLECTL_VALUE_ANY) {
        return NULL;
    }
    wrong = check_list(directive, list, rest, p);
    return wrong && has_typographic_quote(args)
           ? "typographic quotation marks are none to httpd; write \"...\""
           : wrong;
}
