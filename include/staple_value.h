/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_VALUE_H
#define STAPLE_VALUE_H

/*
 * What a directive makes of its argument: switches, times and URLs. Pure. The
 * module and `staplectl lint` both ask here, so they cannot disagree.
 *
 * The eleven names that are mod_ssl's own are read leniently: mod_ssl looks at
 * few of its arguments, and a server that starts with mod_ssl alone is to start
 * with mod_staple too. Where an argument has no sensible meaning, it is
 * replaced, and the words say by what. What begins with "Staple" is new, so
 * there an argument is right or refused.
 *
 * Any thread may call any function. What is returned lives in p; the words
 * repeat what was written, except for a password.
 */

#include <apr_pools.h>
#include <apr_time.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What becomes of an argument. */
typedef enum {
    STAPLE_VALUE_TAKEN,    /* it is used as it is written */
    STAPLE_VALUE_REPLACED, /* the server starts; the words say what is used */
    STAPLE_VALUE_REFUSED   /* the server does not start; the words say what is
                              accepted */
} staple_value_e;

/** One argument out of a line, by the rules of httpd's ap_getword_conf.
 * @param line moved behind the argument and the space that follows it
 * @return the argument, "" where there is none */
const char *staple_value_next(const char **line, apr_pool_t *p);

/**
 * On or off, and nothing else. As httpd does for mod_ssl's switches, it looks
 * at the first argument only; what follows it is ignored, with a warning.
 * @param line all arguments
 */
staple_value_e staple_value_flag(int *is_on, const char *line,
                                 const char **words, apr_pool_t *p);

/** A span that says that the default is used. */
#define STAPLE_VALUE_DEFAULT ((apr_interval_time_t)-1)

/** What a time may be. The greatest is ten years. */
typedef struct staple_value_span_t {
    const char *least; /* "0", "1ms" */
    int is_lenient;    /* whether the directive is mod_ssl's */
} staple_value_span_t;

/**
 * A time: seconds, or a number with ms, s, min, h or d.
 *
 * A lenient one is read as mod_ssl does where it is something else: the digits
 * at its beginning are seconds ("60x" is 60). One without digits, or below the
 * least, becomes STAPLE_VALUE_DEFAULT; one above the greatest becomes that. A
 * negative number is refused, by mod_ssl too, unless it is too large for an int
 * and no longer negative then: that becomes STAPLE_VALUE_DEFAULT.
 * @param span in microseconds
 */
staple_value_e staple_value_span(apr_interval_time_t *span, const char *arg,
                                 const staple_value_span_t *rule,
                                 const char **words, apr_pool_t *p);

/** An age that is without a limit. */
#define STAPLE_VALUE_AGE_OFF ((apr_interval_time_t)0)

/**
 * StapleMaxAge and StapleRevokedRecheck: "off", or a time from an hour to ten
 * years.
 * @param age in microseconds, or STAPLE_VALUE_AGE_OFF
 */
staple_value_e staple_value_age(apr_interval_time_t *age, const char *arg,
                                const char **words, apr_pool_t *p);

/**
 * SSLStaplingForceURL, or "none". Never refused, since mod_ssl takes anything.
 * @param url NULL: the responders that a certificate names are asked
 */
staple_value_e staple_value_url(const char **url, const char *arg,
                                const char **words, apr_pool_t *p);

/** SSLOCSPProxyURL, or "none". */
typedef struct staple_value_proxy_t {
    const char *url;         /* "http://host:port", without user and password;
                                NULL: none, responders are asked directly */
    const char *shown;       /* the same for people: with "user:***@" */
    const char *credentials; /* user and password as Proxy-Authorization has
                                them behind "Basic " (RFC 7617); a secret;
                                NULL: there are none */
} staple_value_proxy_t;

staple_value_e staple_value_proxy(staple_value_proxy_t *proxy, const char *arg,
                                  const char **words, apr_pool_t *p);

/** A URL, or a line with one in it, as it may be shown: of a password in it
 * "***" is left. */
const char *staple_value_masked(const char *text, apr_pool_t *p);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_VALUE_H */
