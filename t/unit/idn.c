/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * International host names: what becomes of each kind of label, and that what
 * is no label of letters and digits stays as it is.
 */

#include <string.h>

#include <apr_general.h>
#include <apr_pools.h>
#include <apr_strings.h>

#include "staple_idn.h"
#include "tap.h"

static apr_pool_t *pool;

static const struct {
    const char *name, *text, *what;
} cases[] = {
    { "xn--bcher-kva.example", "b\xc3\xbc" "cher.example", "a letter" },
    { "xn--bcher-kva.xn--p1ai", "b\xc3\xbc" "cher.\xd1\x80\xd1\x84",
      "two labels" },
    { "*.xn--bcher-kva.example", "*.b\xc3\xbc" "cher.example",
      "a wildcard before it" },
    { "xn--bcher-kva.example:8443", "b\xc3\xbc" "cher.example:8443",
      "a port behind it" },
    { "XN--BCHER-KVA.example", NULL, "capitals" },
    { "www.example.com", NULL, "nothing international" },
    { "", NULL, "nothing" },
    { "xn--", NULL, "an empty label" },
    { "xn--a", NULL, "a label that decodes to ASCII, or to nothing" },
    { "xn--0", NULL, "a number that ends early" },
    { "xn--99999999999.example", NULL, "a number that overflows" },
    { "xn--bcher-kv!.example", NULL, "a byte that is no digit" },
};

/* A slash, a dot and their likes, bidirectional marks, and what joins without
 * being seen, would make another name of it for people. */
static const char *const unsafe[] = {
    "xn--example-w56c.test", /* U+2024, one dot leader */
    "xn--ab-c6t.test",       /* U+2044, fraction slash */
    "xn--ab-g4t.test",       /* U+202E, right-to-left override */
    "xn--ab-5da.test",       /* U+00AD, soft hyphen */
    "xn--paypal-up8a.test"   /* U+180B, variation selector */
};

static void test_case(const char *name, const char *text, const char *what)
{
    const char *made = staple_idn_text(name, pool);

    if (text) {
        is_str(made, text, what);
    }
    else {
        ok(made == name, "%s: as it is", what);
    }
}

/* Whatever a label decodes to, it has no byte that ends or fools a line. */
static void test_any(void)
{
    static const char digits[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
    apr_uint64_t state = 88172645463325252u;
    int round, i, bad = 0;

    for (round = 0; round < 20000; round++) {
        char name[24] = "xn--";
        const char *made, *at;

        for (i = 4; i < 20; i++) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            name[i] = digits[state % (sizeof(digits) - 1)];
        }
        name[20] = '\0';
        made = staple_idn_text(name, pool);
        for (at = made; *at; at++) {
            bad += (unsigned char)*at < ' ' || *at == '<' || *at == '/';
        }
        bad += strlen(made) > 80;
        apr_pool_clear(pool);
    }
    is_int(bad, 0, "any label: neither control characters nor markup");
}

int main(void)
{
    apr_size_t i;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        test_case(cases[i].name, cases[i].text, cases[i].what);
    }
    for (i = 0; i < sizeof(unsafe) / sizeof(*unsafe); i++) {
        ok(staple_idn_text(unsafe[i], pool) == unsafe[i],
           "%s: as it is", unsafe[i]);
    }
    test_any();
    apr_pool_destroy(pool);
    apr_terminate();
    return tap_done();
}
