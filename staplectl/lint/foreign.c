/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl lint: the stapling settings of nginx, HAProxy and LiteSpeed, for
 * who hands such a file in on the way to httpd. Pure.
 *
 * The one idea: their files are not parsed. A setting is found by its name, and
 * all that is said of it is what to write instead.
 */

#include "lint.h"

#include <string.h>
#include <strings.h>

#include <apr_lib.h>

#define NGINX STAPLECTL_DIALECT_NGINX
#define HAPROXY STAPLECTL_DIALECT_HAPROXY
#define LITESPEED STAPLECTL_DIALECT_LITESPEED

/* Bytes of a file that say what it is. */
#define LOOK_AT 65536

#define SWITCH "write SSLUseStapling, and an SSLStaplingCache"
#define SCHEDULE "nothing is needed: half of a response's validity is the " \
                 "schedule"
#define ISSUER "nothing is needed: the issuer follows the certificate in " \
               "SSLCertificateFile"

static const staplectl_setting_t settings[] = {
    { NGINX, "ssl_stapling", SWITCH },
    { NGINX, "ssl_stapling_verify",
      "nothing is needed: responses are always verified" },
    { NGINX, "ssl_stapling_file", "write StapleResponseFile" },
    { NGINX, "ssl_stapling_responder", "write SSLStaplingForceURL" },
    { NGINX, "ssl_trusted_certificate", ISSUER },
    { HAPROXY, "ocsp-update", SWITCH },
    { HAPROXY, "ocsp", "write StapleResponseFile" },
    { HAPROXY, "ocsp-response",
      "write StapleResponseFile, which is read again when it changes" },
    { HAPROXY, "ocsp-update.mode", SWITCH },
    { HAPROXY, "ocsp-update.disable", "write SSLUseStapling off" },
    { HAPROXY, "ocsp-update.mindelay", SCHEDULE },
    { HAPROXY, "ocsp-update.maxdelay", SCHEDULE },
    { HAPROXY, "ocsp-update.httpproxy", "write SSLOCSPProxyURL" },
    { HAPROXY, "tune.ssl.ocsp-update.mode", SWITCH },
    { HAPROXY, "tune.ssl.ocsp-update.mindelay", SCHEDULE },
    { HAPROXY, "tune.ssl.ocsp-update.maxdelay", SCHEDULE },
    { LITESPEED, "enableStapling", SWITCH },
    { LITESPEED, "ocspRespMaxAge", SCHEDULE },
    { LITESPEED, "ocspResponder",
      "rarely needed, the certificate names it; else write "
      "SSLStaplingForceURL" },
    { LITESPEED, "ocspCACerts", ISSUER },
    { LITESPEED, "sslOcspProxy", "write SSLOCSPProxyURL" }
};

#define SETTINGS (sizeof(settings) / sizeof(*settings))

const char *staplectl_dialect_name(staplectl_dialect_e dialect)
{
    static const char *const names[] = { "httpd", "nginx", "HAProxy",
                                         "LiteSpeed" };

    return names[dialect];
}

const staplectl_setting_t *staplectl_setting_find(const char *name)
{
    apr_size_t i;

    for (i = 0; i < SETTINGS; i++) {
        if (!strcasecmp(name, settings[i].name)) {
            return &settings[i];
        }
    }
    return NULL;
}

static int is_word_char(char c)
{
    return apr_isalnum(c) || c == '_' || c == '-' || c == '.';
}

/* The value of an element is no name, so a closing tag is none either. */
const staplectl_setting_t *staplectl_setting_next(staplectl_dialect_e dialect,
                                                  const char **at)
{
    const char *text = *at;

    while (*text) {
        apr_size_t len = 0, i;
        int is_end = *text == '/';

        while (is_word_char(text[len])) {
            len++;
        }
        for (i = 0; i < SETTINGS; i++) {
            if (settings[i].dialect == dialect
                && strlen(settings[i].name) == len
                && !strncasecmp(text, settings[i].name, len)) {
                *at = text + len;
                return &settings[i];
            }
        }
        text += len ? len : 1;
        while (is_end && is_word_char(*text)) {
            text++;
        }
    }
    *at = text;
    return NULL;
}

/* ----- whose language is it? ----- */

/* What the lines of a text look like. */
typedef struct signs_t {
    int semicolons; /* lines that end with one: nginx */
    int braces;     /* lines that end with { or are } */
    int tags;       /* <name>value</name>, <?xml: LiteSpeed */
    int sections;   /* <Section argument>: httpd */
    int capitals;   /* lines that begin with one, as httpd's directives do */
    int haproxy;    /* its sections and settings */
    int litespeed;  /* its settings, in plain text */
} signs_t;

static int begins(const char *line, apr_size_t len, const char *word)
{
    apr_size_t n = strlen(word);

    return len >= n && !strncasecmp(line, word, n)
           && (len == n || apr_isspace(line[n]));
}

static int contains(const char *line, apr_size_t len, const char *word)
{
    apr_size_t n = strlen(word);
    apr_size_t i;

    for (i = 0; i + n <= len; i++) {
        if (!strncasecmp(line + i, word, n)) {
            return 1;
        }
    }
    return 0;
}

static void note_tag(signs_t *signs, const char *line, apr_size_t len)
{
    if (contains(line, len, "<?xml") || contains(line, len, "</")) {
        signs->tags += line[1] != '/';
    }
    else {
        signs->sections += apr_isupper(line[1]) && memchr(line, ' ', len);
    }
}

static void note_signs(signs_t *signs, const char *line, apr_size_t len)
{
    static const char *const haproxy[] = { "global", "defaults", "frontend",
                                           "backend", "crt-store", "crt-list",
                                           "bind", "load" };
    static const char *const litespeed[] = { "enableStapling",
                                             "ocspRespMaxAge", "ocspResponder",
                                             "ocspCACerts", "sslOcspProxy" };
    apr_size_t i;

    if (*line == '<') {
        note_tag(signs, line, len);
        return;
    }
    signs->capitals += apr_isupper(*line) != 0;
    signs->semicolons += line[len - 1] == ';';
    signs->braces += line[len - 1] == '{' || *line == '}';
    signs->haproxy += contains(line, len, "ocsp-update");
    for (i = 0; i < sizeof(haproxy) / sizeof(*haproxy); i++) {
        signs->haproxy += begins(line, len, haproxy[i]);
    }
    for (i = 0; i < sizeof(litespeed) / sizeof(*litespeed); i++) {
        signs->litespeed += begins(line, len, litespeed[i]);
    }
}

static staplectl_dialect_e decide(const signs_t *signs)
{
    if (signs->sections) {
        return STAPLECTL_DIALECT_HTTPD;
    }
    if (signs->tags || signs->litespeed > signs->capitals) {
        return LITESPEED;
    }
    if (signs->semicolons > signs->capitals) {
        return NGINX;
    }
    if (signs->haproxy > signs->capitals) {
        return HAPROXY;
    }
    return signs->braces > signs->capitals ? LITESPEED
                                           : STAPLECTL_DIALECT_HTTPD;
}

staplectl_dialect_e staplectl_dialect_guess(const char *text, apr_size_t len)
{
    const char *end = text + (len < LOOK_AT ? len : LOOK_AT);
    signs_t signs;

    memset(&signs, 0, sizeof(signs));
    while (text < end) {
        const char *feed = memchr(text, '\n', (apr_size_t)(end - text));
        const char *stop = feed ? feed : end;
        const char *next = feed ? feed + 1 : end;

        while (text < stop && apr_isspace(*text)) {
            text++;
        }
        while (stop > text && apr_isspace(stop[-1])) {
            stop--;
        }
        if (stop > text && *text != '#') {
            note_signs(&signs, text, (apr_size_t)(stop - text));
        }
        text = next;
    }
    return decide(&signs);
}
