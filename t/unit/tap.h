/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_T_TAP_H
#define STAPLE_T_TAP_H

/*
 * The Test Anything Protocol for the C unit tests: ok(), is_int(), is_str()
 * and a plan at the end. A program returns tap_done() from main.
 *
 * The counts are weak symbols: the files of one program share them.
 */

#include <stdio.h>
#include <stdarg.h>
#include <string.h>

extern int tap_run, tap_failed;
__attribute__((weak)) int tap_run;
__attribute__((weak)) int tap_failed;

__attribute__((format(printf, 2, 3), unused))
static int ok(int is_true, const char *fmt, ...)
{
    va_list ap;

    tap_run++;
    if (!is_true) {
        tap_failed++;
    }
    printf("%sok %d - ", is_true ? "" : "not ", tap_run);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    fflush(stdout);
    return is_true;
}

__attribute__((format(printf, 1, 2), unused))
static void diag(const char *fmt, ...)
{
    va_list ap;

    printf("# ");
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    fflush(stdout);
}

__attribute__((unused))
static int is_int(long long got, long long expected, const char *what)
{
    if (!ok(got == expected, "%s", what)) {
        diag("got %lld, expected %lld", got, expected);
        return 0;
    }
    return 1;
}

__attribute__((unused))
static int is_str(const char *got, const char *expected, const char *what)
{
    int same = got && expected ? !strcmp(got, expected) : got == expected;

    if (!ok(same, "%s", what)) {
        diag("got \"%s\", expected \"%s\"", got ? got : "(null)",
             expected ? expected : "(null)");
    }
    return same;
}

__attribute__((unused))
static int tap_done(void)
{
    printf("1..%d\n", tap_run);
    return tap_failed ? 1 : 0;
}

#endif /* STAPLE_T_TAP_H */
