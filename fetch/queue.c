/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The fetch engine's queue. What lives here: the order in which is asked, how
 * many turns each may have at a time, and what is remembered of sites (a host
 * and port) and responders (a URL). What does not: exchanges, jobs, clocks.
 *
 * The one idea: turns are scarce, and a site earns them by answering. Turns go
 * round the sites that have something waiting, and within a site round its
 * responders.
 *
 * An example. The concurrency is 32. Responder H hangs and has 100 jobs,
 * responder W is well and has 100 as well; nothing is known of either.
 *
 *   turn 1-4   H and W have not answered yet: each gets two (PROBES), in turns.
 *   20 ms      Both exchanges with W are answered. Each answer makes room for
 *              one more, so W has four, soon eight, and at last 16: half of the
 *              concurrency (staple_fetch_queue_note_answer). H still has two.
 *   250 ms     The two with H have not ended. They go on, but their places are
 *              given to others: they are set aside, and no longer among the 32
 *              (staple_fetch_queue_set_aside). Up to 4 x 32 exchanges may be.
 *              So 64 such responders hold up a 65th by three waves of 250 ms.
 *   10 s       Both exchanges with H have come to their deadline. Two failures
 *              in a row: H counts as down, and rests for a second. The 98 jobs
 *              that wait for it are not sent: they go to their next URL, or
 *              fail with the same reason, at once (is_hopeless).
 *   11 s       What is submitted for H from now on is asked one at a time. One
 *              more failure, and it rests for two seconds, then four, up to
 *              ten;
 *              one answer, and it counts as up.
 *
 * A failure is counted unless what was asked is suspect (its last question went
 * unanswered too): such a failure keeps others that are suspect waiting, and
 * nobody else. A hang-up counts as an eighth of a failure, because it costs
 * nobody any time: so six certificates that a responder hangs up on do not keep
 * it from the seventh.
 *
 * Memory: sites and responders are blocks of malloc, thousands of which may
 * come and go; nothing is taken from a pool but for the slots of two hash
 * tables, which are used again.
 */

#include "queue.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#define PROBES STAPLE_FETCH_PROBES

/* For how long a responder that is down is not asked. */
#define REST_FIRST apr_time_from_sec(1)
#define REST_MAX apr_time_from_sec(10)

/* After this long without a turn, a site has to earn its room again. */
#define SITE_IDLE apr_time_from_sec(10)

/* For how long a resolved name is believed; getaddrinfo tells no TTL. */
#define NAME_LIFETIME apr_time_from_sec(60)

/* So many times the turns at a time may have been set aside. */
#define ASIDE_FACTOR 4

#define REMEMBERED_MAX 4096 /* responders, and sites, before idle ones go */

/* ---- health ---- */

/* What a failure counts: whoever hangs up at once has cost nothing, so a few
 * certificates that it does so for say little about all others. */
#define WEIGHT 8
#define WEIGHT_OF_HANGUP 1

/* Failures in a row, hang-ups as an eighth each. */
static int count_failures(const health_t *health)
{
    return health->failures / WEIGHT;
}

static int is_down(const health_t *health)
{
    return count_failures(health) >= PROBES;
}

static int is_resting(const health_t *health, apr_time_t now, int is_suspect)
{
    return is_down(health)
           && now < (is_suspect ? health->rest_to : health->rest_all_to);
}

/* How many exchanges at a time it has earned. */
static int room_of(const health_t *health)
{
    if (is_down(health)) {
        return 1;
    }
    return health->is_proven && !count_failures(health) ? INT_MAX
                                                  : PROBES
                                                    - count_failures(health);
}

static void note_success(health_t *health)
{
    health->is_proven = 1;
    health->failures = 0;
}

/* What fails while it rests was sent before and says nothing new. */
static void note_failure(health_t *health, const failure_t *failure,
                         apr_time_t now, int is_suspect)
{
    apr_interval_time_t rest = REST_FIRST;
    int i;

    if (is_resting(health, now, is_suspect)) {
        return;
    }
    if (health->failures < INT_MAX - WEIGHT) {
        health->failures += failure->outcome == STAPLE_FETCH_RESET
                            ? WEIGHT_OF_HANGUP : WEIGHT;
    }
    health->last = *failure;
    for (i = PROBES; i < count_failures(health) && rest < REST_MAX; i++) {
        rest *= 2;
    }
    health->rest_to = now + (rest < REST_MAX ? rest : REST_MAX);
    if (!is_suspect) {
        health->rest_all_to = health->rest_to;
    }
}

/* ---- sites and responders ---- */

const char *staple_fetch_queue_refusal(const queue_t *queue, const char *host,
                                       const staple_fetch_endpoint_t *endpoint,
                                       apr_uint16_t port)
{
    return queue->conf->refusal
           ? queue->conf->refusal(queue->conf->refusal_baton, host,
                                  endpoint->ip, port)
           : NULL;
}

int staple_fetch_queue_is_full(const queue_t *queue, const site_t *site,
                               const char *ip)
{
    char peer[STAPLE_FETCH_PEER_LEN];

    return !site->is_proxied
           && staple_fetch_conn_count(queue->conns,
                                      staple_fetch_conn_peer(peer, ip,
                                                             site->port))
              >= queue->half;
}

int staple_fetch_queue_is_resolved(const site_t *site, apr_time_t now)
{
    return site->is_address || now < site->fresh_to;
}

void staple_fetch_queue_set_endpoints(const queue_t *queue, site_t *site,
                                      const staple_fetch_endpoint_t *endpoints,
                                      int count, apr_time_t now)
{
    int i;

    staple_fetch_address_clear(&site->addresses);
    site->refusal = NULL;
    for (i = 0; i < count; i++) {
        const char *refusal = site->is_proxied ? NULL
            : staple_fetch_queue_refusal(queue, site->host, &endpoints[i],
                                         site->port);

        if (refusal) {
            site->refusal = refusal;
            apr_cpystrn(site->refused_ip, endpoints[i].ip,
                        sizeof(site->refused_ip));
        }
        else {
            staple_fetch_address_add(&site->addresses, &endpoints[i]);
        }
    }
    site->fresh_to = now + NAME_LIFETIME;
}

/* Forget responders without work, and then sites that nobody uses. */
static void forget_idle(queue_t *queue)
{
    apr_hash_index_t *hi;

    for (hi = apr_hash_first(NULL, queue->responders); hi;
         hi = apr_hash_next(hi)) {
        responder_t *responder = apr_hash_this_val(hi);

        if (!responder->active
            && APR_RING_EMPTY(&responder->waiters,
                              waiter_t, link)) {
            responder->site->users--;
            apr_hash_set(queue->responders, responder->key,
                         APR_HASH_KEY_STRING, NULL);
            free(responder);
        }
    }
    for (hi = apr_hash_first(NULL, queue->sites); hi;
         hi = apr_hash_next(hi)) {
        site_t *site = apr_hash_this_val(hi);

        if (!site->users && !site->is_looked_up) {
            apr_hash_set(queue->sites, site->key, APR_HASH_KEY_STRING, NULL);
            free(site);
        }
    }
}

static site_t *make_site(queue_t *queue, const char *key,
                         const staple_url_t *target, int is_proxied)
{
    apr_size_t key_len = strlen(key) + 1;
    apr_size_t host_len = strlen(target->host) + 1;
    site_t *site = calloc(1, sizeof(*site) + key_len + host_len);
    staple_fetch_endpoint_t endpoint;

    if (!site) {
        return NULL;
    }
    memcpy(site->key, key, key_len);
    memcpy(site->key + key_len, target->host, host_len);
    site->host = site->key + key_len;
    site->port = target->port;
    site->is_proxied = is_proxied;
    site->is_address = target->is_address;
    site->window = PROBES;
    APR_RING_INIT(&site->waiting, responder_t, link);
    if (site->is_address) {
        staple_fetch_queue_set_endpoints(
            queue, site, &endpoint,
            staple_fetch_dns_parse(&endpoint, site->host), 0);
    }
    apr_hash_set(queue->sites, site->key, APR_HASH_KEY_STRING, site);
    return site;
}

static const char *make_key(const char *target,
                            const staple_url_t *proxy, apr_pool_t *p)
{
    return proxy ? apr_pstrcat(p, target, " via ", proxy->authority, NULL)
                 : target;
}

site_t *staple_fetch_queue_site(queue_t *queue, const staple_url_t *url,
                                const staple_url_t *proxy, apr_pool_t *p)
{
    const char *key = make_key(url->authority, proxy, p);
    site_t *site = apr_hash_get(queue->sites, key, APR_HASH_KEY_STRING);

    if (site) {
        return site;
    }
    if (apr_hash_count(queue->sites) >= REMEMBERED_MAX) {
        forget_idle(queue);
    }
    return make_site(queue, key, proxy ? proxy : url, proxy != NULL);
}

responder_t *staple_fetch_queue_responder(queue_t *queue,
                                          const staple_url_t *url,
                                          const staple_url_t *proxy,
                                          apr_pool_t *p)
{
    const char *key = make_key(url->text, proxy, p);
    responder_t *responder = apr_hash_get(queue->responders, key,
                                          APR_HASH_KEY_STRING);
    apr_size_t len = strlen(key) + 1;
    site_t *site;

    if (responder) {
        return responder;
    }
    if (apr_hash_count(queue->responders) >= REMEMBERED_MAX) {
        forget_idle(queue);
    }
    site = staple_fetch_queue_site(queue, url, proxy, p);
    responder = site ? calloc(1, sizeof(*responder) + len) : NULL;
    if (!responder) {
        return NULL;
    }
    memcpy(responder->key, key, len);
    responder->site = site;
    site->users++;
    APR_RING_INIT(&responder->waiters, waiter_t, link);
    apr_hash_set(queue->responders, responder->key, APR_HASH_KEY_STRING,
                 responder);
    return responder;
}

/* ---- waiting ---- */

void staple_fetch_queue_add(queue_t *queue, responder_t *responder,
                            waiter_t *waiter)
{
    site_t *site = responder->site;

    if (APR_RING_EMPTY(&site->waiting, responder_t, link)) {
        APR_RING_INSERT_TAIL(&queue->waiting, site, site_t, link);
        queue->waiting_sites++;
    }
    if (APR_RING_EMPTY(&responder->waiters, waiter_t, link)) {
        APR_RING_INSERT_TAIL(&site->waiting, responder,
                             responder_t, link);
    }
    APR_RING_INSERT_TAIL(&responder->waiters, waiter, waiter_t,
                         link);
}

waiter_t *staple_fetch_queue_take(queue_t *queue, responder_t *responder)
{
    site_t *site = responder->site;
    waiter_t *waiter = APR_RING_FIRST(&responder->waiters);

    APR_RING_REMOVE(waiter, link);
    APR_RING_REMOVE(responder, link);
    if (!APR_RING_EMPTY(&responder->waiters, waiter_t, link)) {
        APR_RING_INSERT_TAIL(&site->waiting, responder,
                             responder_t, link);
    }
    APR_RING_REMOVE(site, link);
    if (!APR_RING_EMPTY(&site->waiting, responder_t, link)) {
        APR_RING_INSERT_TAIL(&queue->waiting, site, site_t, link);
    }
    else {
        queue->waiting_sites--;
    }
    return waiter;
}

waiter_t *staple_fetch_queue_take_any(queue_t *queue)
{
    site_t *site = APR_RING_FIRST(&queue->waiting);

    return queue->waiting_sites
           ? staple_fetch_queue_take(queue, APR_RING_FIRST(&site->waiting))
           : NULL;
}

/* ---- turns ---- */

/* Whether this responder's first waiter should rather go elsewhere: it is down,
 * or is being probed and there is another one to ask. */
static int is_hopeless(const responder_t *responder, apr_time_t now)
{
    const waiter_t *first = APR_RING_FIRST(&responder->waiters);
    int has_other = first->has_other;

    return is_resting(&responder->health, now, first->is_suspect)
           || is_resting(&responder->site->health, now, 0)
           || (has_other && responder->active && is_down(&responder->health))
           || (has_other && responder->site->active
               && is_down(&responder->site->health));
}

/* The slots that are kept for sites which have none, so that two which hang
 * with all they had earned do not shut out a third. Probes fill them first. */
static int count_reserve(const queue_t *queue)
{
    int reserve = queue->conf->concurrency / 16;

    if (!reserve && queue->conf->concurrency >= 4) {
        reserve = 1;
    }
    return queue->probes < reserve ? reserve - queue->probes : 0;
}

/* Whether the address that is asked first has all it may be given. */
static int is_first_full(const queue_t *queue, const site_t *site)
{
    staple_fetch_endpoint_t ordered[STAPLE_FETCH_ENDPOINTS_MAX];

    staple_fetch_address_order(&site->addresses, ordered);
    return staple_fetch_queue_is_full(queue, site, ordered[0].ip);
}

/* Whether the site may have another slot; while they are scarce (is_generous
 * is false) each site has its share and no more. */
static int has_site_room(const queue_t *queue, const site_t *site,
                         apr_time_t now, int is_generous)
{
    int all = queue->conf->concurrency;

    if (queue->active >= (site->active ? all - count_reserve(queue) : all)) {
        return 0;
    }
    if (!is_generous && site->active * queue->waiting_sites >= all) {
        return 0;
    }
    if (site->active >= (is_down(&site->health) ? 1 : site->window)) {
        return 0;
    }
    return !site->addresses.count || !staple_fetch_queue_is_resolved(site, now)
           || !is_first_full(queue, site);
}

/* Responders that have yet to prove themselves have three quarters of the
 * slots, so that however many hang, the others go on. */
static int has_responder_room(const queue_t *queue,
                              const responder_t *responder)
{
    int room = room_of(&responder->health);
    int most = queue->conf->concurrency * 3 / 4;

    return responder->active < room
           && (room == INT_MAX || queue->probes < (most ? most : 1));
}

static responder_t *find_turn(const queue_t *queue, apr_time_t now,
                              int is_generous)
{
    site_t *site;

    APR_RING_FOREACH(site, &queue->waiting, site_t, link) {
        int has_room = has_site_room(queue, site, now, is_generous);
        responder_t *responder;

        APR_RING_FOREACH(responder, &site->waiting,
                         responder_t, link) {
            if ((has_room && has_responder_room(queue, responder))
                || is_hopeless(responder, now)) {
                return responder;
            }
        }
    }
    return NULL;
}

responder_t *staple_fetch_queue_next(const queue_t *queue, apr_time_t now,
                                     const failure_t **refusal)
{
    responder_t *responder = find_turn(queue, now, 0);

    if (!responder) {
        responder = find_turn(queue, now, 1);
    }
    *refusal = NULL;
    if (responder && is_hopeless(responder, now)) {
        *refusal = is_down(&responder->site->health)
                 ? &responder->site->health.last : &responder->health.last;
    }
    return responder;
}

void staple_fetch_queue_enter(queue_t *queue, responder_t *responder,
                              apr_time_t now, staple_fetch_turn_t *turn)
{
    site_t *site = responder->site;

    turn->responder = responder;
    turn->is_probe = room_of(&responder->health) != INT_MAX;
    turn->is_aside = 0;
    if (!site->active && now - site->idle_since > SITE_IDLE) {
        site->window = PROBES;
    }
    queue->active++;
    queue->probes += turn->is_probe;
    responder->active++;
    site->active++;
}

int staple_fetch_queue_has_room_aside(const queue_t *queue)
{
    return queue->aside < queue->conf->concurrency * ASIDE_FACTOR;
}

int staple_fetch_queue_set_aside(queue_t *queue, staple_fetch_turn_t *turn)
{
    if (!staple_fetch_queue_has_room_aside(queue)) {
        return 0;
    }
    turn->is_aside = 1;
    queue->aside++;
    queue->active--;
    queue->probes -= turn->is_probe;
    return 1;
}

void staple_fetch_queue_leave(queue_t *queue, const staple_fetch_turn_t *turn,
                              apr_time_t now)
{
    site_t *site = turn->responder->site;

    if (turn->is_aside) {
        queue->aside--;
    }
    else {
        queue->active--;
        queue->probes -= turn->is_probe;
    }
    turn->responder->active--;
    site->active--;
    site->idle_since = now;
}

/* ---- what was learned ---- */

int staple_fetch_queue_is_down(const responder_t *responder)
{
    return is_down(&responder->health) || is_down(&responder->site->health);
}

void staple_fetch_queue_note_answer(const queue_t *queue,
                                    responder_t *responder)
{
    site_t *site = responder->site;

    note_success(&responder->health);
    if (site->window < queue->half) {
        site->window++;
    }
}

void staple_fetch_queue_note_failure(responder_t *responder,
                                     const failure_t *failure, int is_suspect,
                                     apr_time_t now)
{
    note_failure(&responder->health, failure, now, is_suspect);
}

void staple_fetch_queue_note_reached(site_t *site)
{
    note_success(&site->health);
}

void staple_fetch_queue_note_unreached(site_t *site, const failure_t *failure,
                                       apr_time_t now)
{
    note_failure(&site->health, failure, now, 0);
    site->window = PROBES;
    site->fresh_to = 0; /* a name may have moved */
}

/* ---- life ---- */

void staple_fetch_queue_init(queue_t *queue, const staple_fetch_conf_t *conf,
                             const staple_fetch_conns_t *conns, apr_pool_t *p)
{
    queue->conf = conf;
    queue->conns = conns;
    queue->half = conf->concurrency > 1 ? conf->concurrency / 2 : 1;
    queue->sites = apr_hash_make(p);
    queue->responders = apr_hash_make(p);
    APR_RING_INIT(&queue->waiting, site_t, link);
}

static void free_values(apr_hash_t *hash)
{
    apr_hash_index_t *hi;

    for (hi = apr_hash_first(NULL, hash); hi; hi = apr_hash_next(hi)) {
        free(apr_hash_this_val(hi)); /* with its key: the table is dead now */
    }
}

void staple_fetch_queue_free(queue_t *queue)
{
    free_values(queue->responders);
    free_values(queue->sites);
}
