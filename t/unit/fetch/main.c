/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Proves the fetch engine against servers that do as they are told: every
 * outcome has its reason, nobody waits for a neighbour, and nothing is left
 * behind. The servers are threads on loopback ports from the kernel; names
 * that end in ".test" are resolved by the program itself. The tests lie in
 * the other files, by theme; fetch_test.h lists them.
 */

#include "fetch_test.h"

#include "../tap.h"

#include <signal.h>

#include <apr_general.h>

int main(void)
{
    apr_initialize();
    apr_pool_create(&pool, NULL);
    signal(SIGPIPE, SIG_IGN);

    test_exit(); /* before there are threads */
    test_outcomes();
    test_unreachable();
    test_denied();
    test_denied_redirect();
    test_deny_words();
    test_phases();
    test_requests();
    test_validators();
    test_methods();
    test_cached();
    test_redirect();
    test_failover();
    test_keepalive();
    test_hasty();
    test_concurrency();
    test_slices();
    test_span();
    test_neighbours();
    test_newcomer();
    test_hanging_names();
    test_drippers();
    test_hangups();
    test_probe();
    test_one_bad();
    test_breaker();
    test_breaker_site();
    test_names();
    test_eyeballs();
    test_late_address();
    test_ipv6();
    test_moved();
    test_moved_silent();
    test_moved_shared();
    test_moved_not();
    test_ill_address();
    test_all_ill();
    test_half();
    test_address_order();
    test_endless();
    test_deaf();
    test_deaf_later();
    test_stop();
    test_pool();
    test_submit_from_done();
    test_descriptors();
    test_memory();

    apr_pool_destroy(pool);
    apr_terminate();
    return tap_done();
}
