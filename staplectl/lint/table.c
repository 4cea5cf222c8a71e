/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl lint: what is known of each directive. Pure.
 *
 * The one idea: all that lint says of a directive as such stands in one row
 * here, and staple_config.c stays the judge of what is true: a test (t/553)
 * compares names, contexts, words and limits with the module's own table, and
 * verdicts with httpd -t. What is done with a row is staplectl/lint/judge.c's.
 */

#include "lint.h"

#include <limits.h>
#include <string.h>
#include <strings.h>

#include <apr_lib.h>

#define SSL STAPLECTL_OF_SSL
#define STAPLE STAPLECTL_OF_STAPLE
#define MD STAPLECTL_OF_MD

#define SERVER 1 /* server level only */
#define VHOST 0  /* in <VirtualHost> too */

#define ON_OFF STAPLECTL_VALUE_WORD, "on or off"
#define WORDS(words) STAPLECTL_VALUE_WORD, words
#define SPAN(least) STAPLECTL_VALUE_SPAN, least
#define COUNT(range) STAPLECTL_VALUE_COUNT, range
#define OTHER(kind) STAPLECTL_VALUE_##kind, NULL

#define NEVER STAPLECTL_CHANGES_NEVER
#define ALWAYS STAPLECTL_CHANGES_ALWAYS
#define UNLESS_OFF STAPLECTL_CHANGES_UNLESS_OFF

const staplectl_directive_t staplectl_directives[] = {
    { "SSLUseStapling", SSL, VHOST, ON_OFF, NEVER,
      "asks the responder in a handshake",
      "staples what it fetched beforehand; no handshake waits",
      "nothing is stapled here" },
    { "SSLStaplingCache", SSL, SERVER, OTHER(CACHE), NEVER,
      "takes the size, and on Linux never makes the file",
      "keeps responses in that file, through restarts",
      NULL },
    { "SSLStaplingResponseTimeSkew", SSL, VHOST, SPAN("0"), UNLESS_OFF,
      "also serves a response that long after its nextUpdate",
      "lets thisUpdate lie that far ahead, and serves nothing after its "
      "nextUpdate",
      "thisUpdate may not lie ahead, and nothing is served after its "
      "nextUpdate" },
    { "SSLStaplingResponderTimeout", SSL, VHOST, SPAN("1ms"), ALWAYS,
      "allows it for each step and each address anew, while a handshake waits",
      "allows it for the whole exchange, in the background",
      NULL },
    { "SSLStaplingResponseMaxAge", SSL, VHOST, SPAN("0"), ALWAYS,
      "staples an older response all the same while it returns errors",
      "never serves an older one, and a response without nextUpdate just this "
      "long",
      "no response is that young: nothing is ever stapled" },
    { "SSLStaplingStandardCacheTimeout", SSL, VHOST, SPAN("0"), ALWAYS,
      "drops a response at this age, valid or not",
      "asks for a newer one at this age if that is before the middle of its "
      "validity, and serves the old one meanwhile; the line is not needed",
      NULL },
    { "SSLStaplingErrorCacheTimeout", SSL, VHOST, SPAN("0"), ALWAYS,
      "keeps an error for this long",
      "pauses this long at most between attempts that fail, beginning with 5 "
      "seconds",
      NULL },
    { "SSLStaplingReturnResponderErrors", SSL, VHOST, ON_OFF, UNLESS_OFF,
      "staples errors, and responses that fail its checks",
      "staples a responder's error only while no valid response is held; "
      "browsers refuse it even so: off is better",
      "errors are not stapled, which is the default here" },
    { "SSLStaplingFakeTryLater", SSL, VHOST, ON_OFF, UNLESS_OFF,
      "makes tryLater up whenever a responder does not answer",
      "makes it up only while no valid response is held; browsers refuse it "
      "even so: off is better",
      "no tryLater is made up, which is the default here" },
    { "SSLStaplingForceURL", SSL, VHOST, OTHER(URL), NEVER,
      "asks this responder",
      "asks this responder instead of those that the certificate names",
      NULL },
    { "SSLOCSPProxyURL", SSL, VHOST, OTHER(PROXY), NEVER,
      "asks through this proxy",
      "asks responders through this proxy",
      NULL },

    { "StapleCacheGrow", STAPLE, SERVER, ON_OFF, NEVER, NULL,
      "a ring that is too small grows at start, which is the default",
      "a ring that is too small stays as it is, and what does not fit is not "
      "stapled" },
    { "StapleCertIDHash", STAPLE, VHOST, WORDS("auto, sha1 or sha256"), NEVER,
      NULL, "requests name certificates by this hash", NULL },
    { "StapleChain", STAPLE, SERVER, ON_OFF, NEVER, NULL,
      "responses for the certificates of CAs in the chain are sent too, in TLS "
      "1.3 and with OpenSSL 3.6 or later",
      "only the response for the site's own certificate is sent, which is the "
      "default" },
    { "StapleDenyResponder", STAPLE, SERVER, OTHER(NETWORKS), NEVER, NULL,
      "responders in these networks are never asked", NULL },
    { "StapleFetchConcurrency", STAPLE, SERVER, COUNT("1 to 1024"), NEVER,
      NULL, "so many exchanges run at a time", NULL },
    { "StapleMaxAge", STAPLE, VHOST, OTHER(AGE), NEVER, NULL,
      "a response of a greater age is not stapled, except for a must-staple "
      "certificate",
      "a response is stapled however old it is, to the end of its validity" },
    { "StapleRevokedRecheck", STAPLE, VHOST, OTHER(AGE), NEVER, NULL,
      "so soon the CA is asked again about a certificate that it has revoked",
      "a revocation is asked for again at the middle of its validity, as any "
      "other response" },
    { "StapleFetchIssuer", STAPLE, VHOST, ON_OFF, NEVER, NULL,
      "the issuer's certificate is fetched where the chain lacks it, which is "
      "the default",
      "a certificate whose chain lacks its issuer is not stapled" },
    { "StapleMessageCmd", STAPLE, SERVER, OTHER(PROGRAM), NEVER, NULL,
      "this program is run when something changes for a certificate", NULL },
    { "StapleMustStaple", STAPLE, SERVER,
      WORDS("warn, require, strict or refuse"), NEVER, NULL,
      "what to do about a must-staple certificate with nothing to staple",
      NULL },
    { "StapleResponseDirectory", STAPLE, SERVER, OTHER(PATH), NEVER, NULL,
      "responses that are put there are taken, also for certificates that come "
      "into service later", NULL },
    { "StapleResponseFile", STAPLE, VHOST, OTHER(PATHS), NEVER, NULL,
      "responses are taken out of these files too", NULL },
    { "StapleShare", STAPLE, SERVER, OTHER(SHARE), NEVER, NULL,
      "responses are shared with other servers there", NULL },
    { "StapleStatusActions", STAPLE, SERVER, ON_OFF, NEVER, NULL,
      "the status page has buttons; Require in its <Location> decides who may "
      "press them",
      "the status page only shows, which is the default" },
    { "StapleWarmup", STAPLE, SERVER, SPAN("0"), NEVER, NULL,
      "a start may wait this long for missing responses",
      "a start does not wait for missing responses" },

    { "MDStapling", MD, VHOST, OTHER(ANY), NEVER, NULL,
      "mod_md staples, and mod_staple has nothing to do",
      "mod_md leaves stapling to others" },
    { "MDStapleOthers", MD, VHOST, OTHER(ANY), NEVER, NULL,
      "with MDStapling on, mod_md staples certificates that it does not manage",
      "mod_md staples what it manages, and leaves the rest to mod_staple" },
    { "MDStaplingRenewWindow", MD, VHOST, OTHER(ANY), NEVER, NULL,
      "it holds for what mod_md staples", NULL },
    { "MDStaplingKeepResponse", MD, VHOST, OTHER(ANY), NEVER, NULL,
      "it holds for what mod_md staples", NULL },
    { .name = NULL }
};

const staplectl_directive_t *staplectl_directive_find(const char *name)
{
    const staplectl_directive_t *directive = staplectl_directives;

    while (directive->name && strcasecmp(directive->name, name)) {
        directive++;
    }
    return directive->name ? directive : NULL;
}

/* ----- names that are not known ----- */

#define NAME_MAX_LEN 64

/* Names that guides have, and that are not near to what they mean. */
static const struct {
    const char *wrong;
    const char *right;
} misnomers[] = {
    { "SSLStaplingResponderURI", "SSLStaplingForceURL" },
    { "SSLStaplingResponderURL", "SSLStaplingForceURL" },
    { "SSLStaplingResponder", "SSLStaplingForceURL" },
    { "SSLStaplingProxyURL", "SSLOCSPProxyURL" },
    { "SSLStaplingFile", "StapleResponseFile" },
    { "SSLStaplingResponseFile", "StapleResponseFile" },
    { "SSLOCSPStapling", "SSLUseStapling" },
    { "SSLEnableStapling", "SSLUseStapling" },
    { "SSLStaplingEnable", "SSLUseStapling" }
};

/* A name that others are compared with: of each letter, in any case, where it
 * stands in the name, a bit a place. */
typedef struct pattern_t {
    int len; /* 1 .. NAME_MAX_LEN */
    apr_uint64_t places[UCHAR_MAX + 1];
} pattern_t;

static void compile(pattern_t *pattern, const char *name)
{
    const unsigned char *c = (const unsigned char *)name;
    apr_uint64_t place = 1;

    memset(pattern, 0, sizeof(*pattern));
    for (; *c; c++, place <<= 1) {
        pattern->places[apr_tolower(*c)] |= place;
        pattern->places[apr_toupper(*c)] |= place;
        pattern->len++;
    }
}

/*
 * How many letters to insert, remove or change (Levenshtein). Of the table of
 * these numbers, a column for each letter of the other name, only the steps
 * from one row to the next are kept, all of a column in two words: a bit for
 * each step up and one for each step down (G. Myers, "A fast bit-vector
 * algorithm for approximate string matching", J. ACM 46(3), 1999, with the top
 * row growing by one in each column, because the whole names are compared).
 */
static int distance(const pattern_t *pattern, const char *other)
{
    const apr_uint64_t last = (apr_uint64_t)1 << (pattern->len - 1);
    apr_uint64_t up = ~(apr_uint64_t)0, down = 0;
    int steps = pattern->len;

    for (; *other; other++) {
        apr_uint64_t equal = pattern->places[(unsigned char)*other];
        apr_uint64_t level = (((equal & up) + up) ^ up) | equal;
        apr_uint64_t right_up = down | ~(level | up);
        apr_uint64_t right_down = up & level;

        steps += !!(right_up & last) - !!(right_down & last);
        right_up = right_up << 1 | 1;
        equal |= down;
        up = right_down << 1 | ~(equal | right_up);
        down = right_up & equal;
    }
    return steps;
}

/* The known name that is less than so many steps away, or NULL. */
static const char *nearest(const char *name, int limit)
{
    const staplectl_directive_t *directive;
    const char *best = NULL;
    pattern_t pattern;

    compile(&pattern, name);
    for (directive = staplectl_directives; directive->name; directive++) {
        int d = distance(&pattern, directive->name);

        if (d < limit) {
            limit = d;
            best = directive->name;
        }
    }
    return best;
}

const char *staplectl_directive_nearest(const char *name)
{
    apr_size_t i;

    if (!*name || strlen(name) > NAME_MAX_LEN) {
        return NULL;
    }
    for (i = 0; i < sizeof(misnomers) / sizeof(*misnomers); i++) {
        if (!strcasecmp(name, misnomers[i].wrong)) {
            return misnomers[i].right;
        }
    }
    return nearest(name, (int)strlen(name) / 3 + 1);
}

/* By its beginning, or because all but two letters are right. */
int staplectl_directive_is_meant(const char *name)
{
    static const char *const beginnings[] = {
        "SSLStapl", "SSLUseStapl", "SSLEnableStapl", "SSLOCSPStapl", "Stapl",
        "MDStapl"
    };
    apr_size_t i;

    for (i = 0; i < sizeof(beginnings) / sizeof(*beginnings); i++) {
        if (!strncasecmp(name, beginnings[i], strlen(beginnings[i]))) {
            return 1;
        }
    }
    if (strlen(name) > NAME_MAX_LEN
        || (strncasecmp(name, "SSL", 3) && strncasecmp(name, "Stap", 4))) {
        return 0;
    }
    return nearest(name, 3) != NULL;
}
