/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What is remembered of a site's addresses, see fetch/address.h for the
 * contract.
 *
 * The one idea: an address is judged by its last answer. One that has failed is
 * not given up; it comes after all others, until it answers again. So an
 * address that falls ill costs each exchange nothing but the first one, and
 * one that is well again is found as soon as another one fails.
 */

#include "address.h"

#include <string.h>

#include <apr_strings.h>

#define MAX STAPLE_FETCH_ENDPOINTS_MAX

void staple_fetch_address_clear(addresses_t *addresses)
{
    addresses->count = 0;
}

void staple_fetch_address_add(addresses_t *addresses,
                              const staple_fetch_endpoint_t *endpoint)
{
    if (addresses->count < MAX) {
        addresses->known[addresses->count++] = *endpoint;
    }
}

/* When it has failed; 0: it has not, or has answered since. */
static apr_time_t failed_at(const addresses_t *addresses, const char *ip)
{
    int i;

    for (i = 0; i < MAX; i++) {
        if (!strcmp(addresses->failed[i].ip, ip)) {
            return addresses->failed[i].at;
        }
    }
    return 0;
}

/* Put it in front of those that have failed later than it has. */
static void insert(const addresses_t *addresses,
                   staple_fetch_endpoint_t *ordered, int count,
                   const staple_fetch_endpoint_t *endpoint)
{
    apr_time_t at = failed_at(addresses, endpoint->ip);
    int i = count;

    while (i > 0 && failed_at(addresses, ordered[i - 1].ip) > at) {
        ordered[i] = ordered[i - 1];
        i--;
    }
    ordered[i] = *endpoint;
}

int staple_fetch_address_order(const addresses_t *addresses,
                               staple_fetch_endpoint_t *ordered)
{
    int count = 0;
    int well = 0;
    int i;

    for (i = 0; i < addresses->count; i++) {
        if (!strcmp(addresses->known[i].ip, addresses->preferred)) {
            ordered[count++] = addresses->known[i];
        }
    }
    for (i = 0; i < addresses->count; i++) {
        if (strcmp(addresses->known[i].ip, addresses->preferred)) {
            insert(addresses, ordered, count++, &addresses->known[i]);
        }
    }
    while (well < count && !failed_at(addresses, ordered[well].ip)) {
        well++;
    }
    return well;
}

void staple_fetch_address_note_answer(addresses_t *addresses, const char *ip)
{
    int i;

    apr_cpystrn(addresses->preferred, ip, sizeof(addresses->preferred));
    for (i = 0; i < MAX; i++) {
        if (!strcmp(addresses->failed[i].ip, ip)) {
            addresses->failed[i].ip[0] = '\0';
        }
    }
}

/* Its own place, a free one, or that of the oldest failure. */
static staple_fetch_failed_t *place_for(addresses_t *addresses, const char *ip)
{
    staple_fetch_failed_t *best = &addresses->failed[0];
    int i;

    for (i = 0; i < MAX; i++) {
        staple_fetch_failed_t *place = &addresses->failed[i];

        if (!strcmp(place->ip, ip)) {
            return place;
        }
        if (best->ip[0] && (!place->ip[0] || place->at < best->at)) {
            best = place;
        }
    }
    return best;
}

void staple_fetch_address_note_failure(addresses_t *addresses, const char *ip,
                                       apr_time_t now)
{
    staple_fetch_failed_t *place = place_for(addresses, ip);

    apr_cpystrn(place->ip, ip, sizeof(place->ip));
    place->at = now;
    if (!strcmp(addresses->preferred, ip)) {
        addresses->preferred[0] = '\0';
    }
}
