/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What a directive makes of its argument, see include/staple_value.h for the
 * contract.
 *
 * The one idea: strict first. Only what is no good value of its kind, and
 * stands behind a name of mod_ssl's, is read once more with the question what
 * its writer meant by it; and that is never decided in silence.
 */

#include "staple_value.h"
#include "bytes.h"

#include <string.h>
#include <strings.h>

#include <apr_base64.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "staple_url.h"

/* Longer spans are a slip of the pen. */
#define TEN_YEARS APR_INT64_C(315360000) /* seconds */
#define SPAN_MAX apr_time_from_sec(TEN_YEARS)

#define SCHEME "http://"

/* ----- arguments ----- */

/* Whether a backslash is there for the byte behind it. */
static int is_escape(const char *at, char quote)
{
    return *at == '\\' && (at[1] == '\\' || (quote && at[1] == quote));
}

/* Where an argument ends, whose quote (or 0) has been passed. */
static const char *end_of_arg(const char *at, char quote)
{
    while (*at && (quote ? *at != quote : !apr_isspace(*at))) {
        at += is_escape(at, quote) ? 2 : 1;
    }
    return at;
}

const char *staple_value_next(const char **line, apr_pool_t *p)
{
    const char *at = *line;
    const char *end;
    char quote, *out, *arg;

    while (apr_isspace(*at)) {
        at++;
    }
    quote = *at == '"' || *at == '\'' ? *at++ : '\0';
    end = end_of_arg(at, quote);
    arg = out = apr_palloc(p, (apr_size_t)(end - at) + 1);
    while (at < end) {
        at += is_escape(at, quote);
        *out++ = *at++;
    }
    *out = '\0';
    at += quote && *at;
    while (apr_isspace(*at)) {
        at++;
    }
    *line = at;
    return arg;
}

/* Without the blanks at its ends. */
static const char *trim(const char *text, apr_pool_t *p)
{
    apr_size_t len;

    while (apr_isspace(*text)) {
        text++;
    }
    len = strlen(text);
    while (len && apr_isspace(text[len - 1])) {
        len--;
    }
    return apr_pstrmemdup(p, text, len);
}

/* ----- switches ----- */

staple_value_e staple_value_flag(int *is_on, const char *line,
                                 const char **words, apr_pool_t *p)
{
    const char *word = staple_value_next(&line, p);

    *is_on = !strcasecmp(word, "on");
    if (!*is_on && strcasecmp(word, "off")) {
        *words = apr_psprintf(p, "'%s' is not accepted; write On or Off", word);
        return STAPLE_VALUE_REFUSED;
    }
    if (*line) {
        *words = apr_psprintf(p, "it takes one argument; %s is used, and what "
                              "follows it is ignored", *is_on ? "On" : "Off");
        return STAPLE_VALUE_REPLACED;
    }
    return STAPLE_VALUE_TAKEN;
}

/* ----- times ----- */

/* In microseconds; -1: it is no time, or one above the greatest. */
static apr_interval_time_t read_span(const char *arg)
{
    static const struct {
        const char *suffix;
        apr_int64_t factor;
    } units[] = {
        { "", APR_USEC_PER_SEC }, { "s", APR_USEC_PER_SEC }, { "ms", 1000 },
        { "mi", 60 * APR_USEC_PER_SEC }, { "min", 60 * APR_USEC_PER_SEC },
        { "h", 3600 * APR_USEC_PER_SEC }, { "d", 86400 * APR_USEC_PER_SEC }
    };
    apr_size_t digits = strspn(arg, "0123456789");
    apr_int64_t number = digits && digits < 16 ? apr_atoi64(arg) : -1;
    apr_size_t i;

    for (i = 0; number >= 0 && i < sizeof(units) / sizeof(*units); i++) {
        if (!strcasecmp(arg + digits, units[i].suffix)) {
            return number > SPAN_MAX / units[i].factor
                   ? -1 : number * units[i].factor;
        }
    }
    return -1;
}

/* As mod_ssl finds out: it makes an int of the digits, by which a number that
 * is far too large turns negative as well. */
static int is_negative(const char *arg)
{
    return (int)apr_strtoi64(arg, NULL, 10) < 0;
}

/* What is used instead of a value; *span says the same. */
static const char *replacement(apr_interval_time_t *span, const char *arg,
                               apr_interval_time_t least, apr_pool_t *p)
{
    char *end;
    apr_int64_t seconds;

    seconds = apr_strtoi64(arg, &end, 10);
    if (end != arg && seconds > TEN_YEARS) {
        *span = SPAN_MAX;
        return "ten years are used, the greatest that is accepted";
    }
    if (end == arg || seconds < 0 || apr_time_from_sec(seconds) < least) {
        *span = STAPLE_VALUE_DEFAULT;
        return "the default is used";
    }
    *span = apr_time_from_sec(seconds);
    return apr_psprintf(p, "%" APR_INT64_T_FMT " seconds are used, as mod_ssl "
                        "reads it", seconds);
}

staple_value_e staple_value_span(apr_interval_time_t *span, const char *arg,
                                 const staple_value_span_t *rule,
                                 const char **words, apr_pool_t *p)
{
    apr_interval_time_t least = read_span(rule->least);
    const char *wrong = apr_psprintf(p, "'%s' is no time between %s and ten "
                                     "years", arg, rule->least);

    *span = read_span(arg);
    if (*span >= 0 && *span >= least) {
        return STAPLE_VALUE_TAKEN;
    }
    if (!rule->is_lenient || is_negative(arg)) {
        *words = apr_pstrcat(p, wrong, "; write seconds (60) or a number with "
                             "ms, s, min, h or d (5min)", NULL);
        return STAPLE_VALUE_REFUSED;
    }
    *words = apr_pstrcat(p, wrong, "; ", replacement(span, arg, least, p),
                         NULL);
    return STAPLE_VALUE_REPLACED;
}

staple_value_e staple_value_age(apr_interval_time_t *age, const char *arg,
                                const char **words, apr_pool_t *p)
{
    if (!strcasecmp(arg, "off")) {
        *age = STAPLE_VALUE_AGE_OFF;
        return STAPLE_VALUE_TAKEN;
    }
    *age = read_span(arg);
    if (*age >= apr_time_from_sec(3600)) {
        return STAPLE_VALUE_TAKEN;
    }
    *words = apr_psprintf(p, "'%s' is neither off nor a time between 1h and "
                          "ten years; write a number with s, min, h or d "
                          "(10d)", arg);
    return STAPLE_VALUE_REFUSED;
}

/* ----- URLs ----- */

/* Whether a URL can be asked as it stands. */
static int is_good(const char *text, apr_pool_t *p)
{
    staple_url_t url;

    return staple_url_parse(&url, text, p) == STAPLE_URL_OK
           && !memchr(text, '@', strlen(SCHEME) + strcspn(text
                                                  + strlen(SCHEME), "/?#"));
}

/* A host, with a port or a path or a domain: more than a word like "none". */
static int looks_like_host(const char *text)
{
    return (is_alpha((unsigned char)*text) || is_digit((unsigned char)*text)
            || *text == '[')
           && !strstr(text, "://") && strpbrk(text, ".:/") != NULL;
}

/* What takes back a setting of the main server. */
static int is_none(const char *arg)
{
    return !strcasecmp(arg, "none");
}

/* The URL that was probably meant, or NULL. */
static const char *meant_url(const char *text, apr_pool_t *p)
{
    const char *meant = looks_like_host(text)
                        ? apr_pstrcat(p, SCHEME, text, NULL) : text;
    staple_url_t url;

    return staple_url_parse(&url, meant, p) == STAPLE_URL_OK ? url.text : NULL;
}

staple_value_e staple_value_url(const char **url, const char *arg,
                                const char **words, apr_pool_t *p)
{
    *url = NULL;
    if (is_none(arg)) {
        return STAPLE_VALUE_TAKEN;
    }
    if (is_good(arg, p)) {
        *url = arg;
        return STAPLE_VALUE_TAKEN;
    }
    *url = meant_url(trim(arg, p), p);
    *words = apr_psprintf(p, "'%s' is not accepted, write the responder's "
                          "http:// URL (http://host[:port]/path); %s%s",
                          staple_value_masked(arg, p),
                          *url ? *url : "the responders that the certificate "
                                        "names are asked instead",
                          *url ? " is used" : "");
    return STAPLE_VALUE_REPLACED;
}

/* ----- the proxy ----- */

/* Percent-encoding taken away, in place. */
static void decode(char *text)
{
    char *to = text;

    while (*text) {
        int high = *text == '%' ? hex_value((unsigned char)text[1]) : -1;
        int low = high < 0 ? -1 : hex_value((unsigned char)text[2]);

        if (low >= 0) {
            *to++ = (char)(high << 4 | low);
            text += 3;
        }
        else {
            *to++ = *text++;
        }
    }
    *to = '\0';
}

/* "user:password" as RFC 7617 2 has it. */
static const char *credentials_of(const char *user, apr_size_t len,
                                  apr_pool_t *p)
{
    char *plain = apr_pstrmemdup(p, user, len);
    char *coded;

    decode(plain);
    if (!strchr(plain, ':')) {
        plain = apr_pstrcat(p, plain, ":", NULL);
    }
    coded = apr_palloc(p, (apr_size_t)apr_base64_encode_len(
                              (int)strlen(plain)));
    apr_base64_encode(coded, plain, (int)strlen(plain));
    return coded;
}

/* Where the userinfo of an authority ends: at its last "@"; NULL: there is
 * none. */
static const char *end_of_user(const char *authority)
{
    const char *end = authority + strcspn(authority, "/?#");

    while (end > authority && *end != '@') {
        end--;
    }
    return *end == '@' ? end : NULL;
}

const char *staple_value_masked(const char *text, apr_pool_t *p)
{
    const char *at = strrchr(text, '@');
    const char *start = strstr(text, "://");
    apr_size_t user;

    if (!at) {
        return text;
    }
    start = start && start < at ? start + strlen("://") : text;
    user = strcspn(start, ":");
    if (start + user >= at) {
        return text;
    }
    return apr_pstrcat(p, apr_pstrmemdup(p, text, (apr_size_t)(start - text)),
                       apr_pstrmemdup(p, start, user), ":***", at, NULL);
}

/* A name of a user as it may be shown: printable, and no quotes. */
static const char *shown_user(const char *user, apr_size_t len, apr_pool_t *p)
{
    char *name = apr_pstrmemdup(p, user, len);

    name[strcspn(name, ":")] = '\0';
    return is_printable(name) && !strpbrk(name, "\"'<>\\") ? name : "***";
}

/* Fill in a proxy out of what stands behind "http://"; whether it is one. */
static int read_proxy(staple_value_proxy_t *proxy, const char *authority,
                      apr_pool_t *p)
{
    const char *user_end = end_of_user(authority);
    const char *host = user_end ? user_end + 1 : authority;
    apr_size_t user_len = (apr_size_t)(host - authority);
    staple_url_t url;

    if (staple_url_parse(&url, apr_pstrcat(p, SCHEME, apr_pstrmemdup(
                                               p, host, strcspn(host, "/?#")),
                                           NULL), p) != STAPLE_URL_OK) {
        return 0;
    }
    proxy->url = proxy->shown = apr_pstrcat(p, SCHEME, url.authority, NULL);
    if (user_end) {
        proxy->credentials = credentials_of(authority, user_len - 1, p);
        proxy->shown = apr_pstrcat(p, SCHEME,
                                   shown_user(authority, user_len - 1, p),
                                   ":***@", url.authority, NULL);
    }
    return 1;
}

/* Whether the words stand for "no proxy". */
static int means_none(const char *text)
{
    return is_none(text) || !strcasecmp(text, "off")
           || !strcasecmp(text, "direct");
}

/* Whether nothing follows host and port but a slash. */
static int is_bare(const char *authority)
{
    const char *rest = authority + strcspn(authority, "/?#");

    return !*rest || !strcmp(rest, "/");
}

static const char *proxy_words(const staple_value_proxy_t *proxy,
                               const char *arg, apr_pool_t *p)
{
    return apr_psprintf(p, "'%s' is not accepted, write http://host:port of "
                        "the proxy; %s%s", staple_value_masked(arg, p),
                        proxy->url ? proxy->shown : "responders are asked "
                                                    "without a proxy",
                        proxy->url ? " is used" : "");
}

staple_value_e staple_value_proxy(staple_value_proxy_t *proxy, const char *arg,
                                  const char **words, apr_pool_t *p)
{
    const char *text = trim(arg, p);
    const char *scheme_end = strstr(text, "://");
    int is_http = !strncasecmp(text, SCHEME, strlen(SCHEME));
    const char *authority = is_http ? text + strlen(SCHEME) : text;

    memset(proxy, 0, sizeof(*proxy));
    if (scheme_end && !is_http) {
        *words = apr_psprintf(p, "'%s' is not accepted: only a proxy that is "
                              "spoken to in plain HTTP can be used; write "
                              "http://host:port of the proxy",
                              staple_value_masked(arg, p));
        return STAPLE_VALUE_REFUSED;
    }
    if (is_none(arg)) {
        return STAPLE_VALUE_TAKEN;
    }
    if (!means_none(text)) {
        read_proxy(proxy, authority, p);
    }
    if (proxy->url && is_http && is_bare(authority) && !strcmp(arg, text)) {
        return STAPLE_VALUE_TAKEN;
    }
    *words = proxy_words(proxy, arg, p);
    return STAPLE_VALUE_REPLACED;
}
