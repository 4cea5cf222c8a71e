/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The other kind of input of t/fuzz/cache.c: the life of a ring, two bytes a
 * step. Steps are what the module does to a ring, what an administrator asks
 * of it, and what others do to its file and to its memory. However they follow
 * each other, what is held was stored once, and unless somebody wrote to the
 * memory, or the server stopped and has only the file, what was stored is held.
 */

#ifndef STAPLE_FUZZ_CACHE_LIFE_H
#define STAPLE_FUZZ_CACHE_LIFE_H

#define LIFE_STEPS 256
#define LIFE_SLOTS 5
#define LIFE_PATIENCE apr_time_from_sec(10)

typedef struct life_t {
    staple_cache_t *cache;
    staple_cache_conf_t conf;
    unsigned char ids[LIFE_SLOTS][STAPLE_ID_LEN];
    staple_cache_about_t about[LIFE_SLOTS];
    staple_cache_other_t others[LIFE_SLOTS];
    apr_size_t held[LIFE_SLOTS]; /* bytes of the response; 0: none */
    int is_spoilt;               /* its memory: nothing is known of it */
    unsigned char *buf;          /* STAPLE_CACHE_DER_MAX */
    apr_pool_t *p;
} life_t;

typedef void life_step_fn(life_t *life, unsigned int arg);

/* A byte of a response, which follows from its slot and its length. */
static unsigned char life_byte(int slot, apr_size_t len, apr_size_t i)
{
    return (unsigned char)(i * 7 + len + (apr_size_t)slot * 31);
}

/* What lies in life->buf is a response that was stored. */
static void life_check_bytes(const life_t *life, int slot, apr_size_t len)
{
    apr_size_t i;

    for (i = 0; i < len; i++) {
        must(life->buf[i] == life_byte(slot, len, i),
             "what is held was stored once");
    }
}

static void life_check(const life_t *life)
{
    apr_size_t len;
    int i;

    for (i = 0; !life->is_spoilt && i < (int)life->conf.ids_count; i++) {
        apr_status_t rv = staple_cache_read(life->cache, i, life->buf,
                                            STAPLE_CACHE_DER_MAX, &len, NULL);

        must(rv == (life->held[i] ? APR_SUCCESS : APR_NOTFOUND)
             && len == life->held[i], "what was stored is held");
        life_check_bytes(life, i, len);
    }
}

/* ---- Its beginning, and another generation. ---- */

/* What came from a file waits until it is confirmed. */
static void life_confirm_all(life_t *life)
{
    apr_size_t len;
    int i;

    for (i = 0; i < (int)life->conf.ids_count; i++) {
        life->held[i] = 0;
        if (staple_cache_read_pending(life->cache, i, life->buf,
                                      STAPLE_CACHE_DER_MAX, &len, NULL)
            == APR_SUCCESS) {
            life_check_bytes(life, i, len);
            staple_cache_confirm(life->cache, i, 1);
            life->held[i] = len;
        }
    }
}

static void life_make(life_t *life, unsigned int arg)
{
    staple_cache_report_t report;

    life->conf.size = STAPLE_CACHE_SIZE_MIN << (arg >> 4 & 3);
    life->conf.may_grow = arg >> 6 & 1;
    life->conf.others_count = arg & 3;
    must(!staple_cache_create(&life->cache, &life->conf, &report, life->p),
         "a ring can always be made");
    must(!staple_cache_begin_writing(life->cache), "and be written");
    life->conf.ids_count -= report.left_out;
}

static void life_begin(life_t *life, unsigned int arg)
{
    life->conf.previous = NULL;
    life->conf.ids_count = LIFE_SLOTS;
    staple_cache_foresee(life->conf.path, STAPLE_CACHE_SIZE_MIN, life->p);
    life_make(life, arg);
    life->is_spoilt = 0;
    life_confirm_all(life);
}

static void life_restart(life_t *life, unsigned int arg)
{
    staple_cache_unmap(life->cache);
    life_begin(life, arg);
}

/* A graceful restart, which has some certificates less at times. */
static void life_go_on(life_t *life, unsigned int arg)
{
    staple_cache_t *before = life->cache;
    apr_size_t both = life->conf.ids_count, i;

    life->conf.previous = staple_cache_kept(before);
    life->conf.ids_count = 1 + arg % LIFE_SLOTS;
    life_make(life, arg);
    both = both < life->conf.ids_count ? both : life->conf.ids_count;
    for (i = both; i < LIFE_SLOTS; i++) {
        life->held[i] = 0;
    }
    if (life->is_spoilt) {
        staple_cache_confirm(life->cache, 0, 1);
    }
    staple_cache_unmap(before);
}

/* ---- What the refresher and handshakes do. ---- */

static int life_slot(unsigned int arg)
{
    return (int)(arg % (LIFE_SLOTS + 2)) - 1;
}

static void life_store(life_t *life, unsigned int arg)
{
    static const apr_size_t lens[] = { 1, 63, 64, 471, 1500, 2048, 5000,
                                       STAPLE_CACHE_DER_MAX,
                                       STAPLE_CACHE_DER_MAX + 1, 0 };
    static unsigned char der[STAPLE_CACHE_DER_MAX + 1];
    apr_size_t len = lens[arg / 8 % (sizeof(lens) / sizeof(*lens))], i;
    staple_cache_meta_t meta = { 1, 2, 3, 4, 5 };
    int slot = life_slot(arg);

    for (i = 0; i < len; i++) {
        der[i] = life_byte(slot, len, i);
    }
    if (!staple_cache_store(life->cache, slot, der, len, &meta)) {
        life->held[slot] = len;
    }
}

static void life_forget(life_t *life, unsigned int arg)
{
    int slot = life_slot(arg);

    if (!staple_cache_forget(life->cache, slot)) {
        life->held[slot] = 0;
    }
}

static void life_set_state(life_t *life, unsigned int arg)
{
    staple_cache_state_t state;

    memset(&state, 0, sizeof(state));
    state.attempts = arg;
    staple_cache_set_state(life->cache, life_slot(arg), &state);
    staple_cache_confirm(life->cache, life_slot(arg), 0);
}

static void life_count(life_t *life, unsigned int arg)
{
    staple_cache_served_t more = { arg & 1, arg & 2 };
    staple_cache_share_t share;

    staple_cache_count_served(life->cache, life_slot(arg), &more);
    staple_cache_share(life->cache, &share);
    share.last_error = share.since = (apr_time_t)arg;
    staple_cache_count_share(life->cache, &share);
    staple_cache_count_failure(life->cache, arg);
}

static void life_request(life_t *life, unsigned int arg)
{
    int slot;

    staple_cache_request(life->cache, life_slot(arg), arg);
    if (arg % 3 == 0
        && staple_cache_take_request(life->cache, arg & 8, &slot)) {
        must(slot >= 0 && slot < (int)life->conf.ids_count, "a slot exists");
    }
}

static void life_copy(life_t *life, unsigned int arg)
{
    (void)staple_cache_copy_round(life->cache, (int)(arg & 1), life->p);
}

static void life_copy_thread(life_t *life, unsigned int arg)
{
    (void)arg;
    must(!staple_cache_begin_copying(life->cache, NULL, NULL, life->p),
         "a thread begins");
    staple_cache_end_copying(life->cache, LIFE_PATIENCE);
}

static void life_look(life_t *life, unsigned int arg)
{
    staple_cache_conf_t conf;
    staple_cache_report_t report;

    (void)arg;
    memset(&conf, 0, sizeof(conf));
    staple_cache_check_file(life->cache, &conf, &report, life->p);
    read_all(life->cache, life->buf);
}

static void life_only_read(life_t *life, unsigned int arg)
{
    staple_cache_t *view;
    const char *reason;

    if (!staple_cache_open_file(&view, life->conf.path, &reason, life->p)) {
        read_all(view, life->buf);
        staple_cache_ask(view, life->conf.path, life_slot(arg), arg, 0);
        staple_cache_unmap(view);
    }
}

/* ---- What others do. ---- */

static void life_change_file(const life_t *life, off_t at, uint64_t word)
{
    int fd = open(life->conf.path, O_RDWR | O_NONBLOCK | O_NOFOLLOW);

    if (fd >= 0) {
        (void)!pwrite(fd, &word, sizeof(word), at);
        close(fd);
    }
}

/* Put something else where the file is. */
static void life_replace_file(life_t *life, unsigned int arg)
{
    const char *path = life->conf.path;
    const char *other = apr_pstrcat(life->p, path, ".bad", NULL);

    switch (arg % 8) {
    case 0:
        (void)!truncate(path, (off_t)arg * 64);
        return;
    case 1:
        write_file(apr_pstrcat(life->p, path, ".new.0123456789ABCDEF", NULL),
                   (const unsigned char *)path, 3);
        return;
    case 2:
        (void)!link(path, other);
        return;
    default:
        unlink(path);
    }
    switch (arg % 8) {
    case 3:
        (void)!symlink("/nowhere", path);
        break;
    case 4:
        mkdir(path, 0700);
        break;
    case 5:
        mkfifo(path, 0600);
        break;
    case 6:
        write_file(path, life->buf, arg);
        break;
    default:
        break;
    }
}

static void life_write_file(life_t *life, unsigned int arg)
{
    life_change_file(life, (off_t)arg * 40, arg);
}

/* A request, or what is none, where staplectl leaves them. */
static void life_write_request(life_t *life, unsigned int arg)
{
    life_change_file(life, (off_t)offsetof(staple_cache_header_t, asked)
                           + (off_t)(arg % 6 * 8),
                     (uint64_t)(arg >> 4) << 32 | (arg & 15));
}

static void life_clear_file(life_t *life, unsigned int arg)
{
    (void)arg;
    rmdir(life->conf.path);
    unlink(life->conf.path);
    unlink(apr_pstrcat(life->p, life->conf.path, ".bad", NULL));
    unlink(apr_pstrcat(life->p, life->conf.path, ".new.0123456789ABCDEF",
                       NULL));
}

static void life_write_memory(life_t *life, unsigned int arg)
{
    apr_size_t length;
    void *base;

    staple_cache_mapping(life->cache, &base, &length);
    ((unsigned char *)base)[arg * 37 % length] ^= (unsigned char)(1 + arg / 2);
    life->is_spoilt = 1;
}

/* ---- The whole. ---- */

static void life_spec(const uint8_t *data, size_t size, apr_pool_t *p)
{
    staple_cache_spec_t spec;

    staple_cache_parse_spec(&spec, apr_pstrmemdup(p, (const char *)data, size),
                            p);
}

static void live(const uint8_t *data, size_t size, const char *path,
                 unsigned char *buf, apr_pool_t *p)
{
    static life_step_fn *const steps[] = {
        life_store, life_store, life_store, life_forget, life_set_state,
        life_count, life_request, life_copy, life_copy_thread, life_look,
        life_only_read, life_restart, life_go_on, life_replace_file,
        life_write_file, life_write_request, life_clear_file,
        life_write_memory
    };
    life_t *life = apr_pcalloc(p, sizeof(*life));
    size_t i;

    life_spec(data, size < 40 ? size : 40, p);
    life->p = p;
    life->buf = buf;
    for (i = 0; i < LIFE_SLOTS; i++) {
        memset(life->ids[i], (int)i + 1, sizeof(life->ids[i]));
        life->about[i].name = i % 2 ? "www.example.test"
                              : "www.a-name-that-is-too-long-to-be-kept-whole"
                                ".example.test";
        life->others[i].id = life->ids[i];
        life->others[i].about = life->about[i];
    }
    life->conf.path = path;
    life->conf.ids = (const unsigned char (*)[STAPLE_ID_LEN])life->ids;
    life->conf.about = life->about;
    life->conf.others = life->others;
    life_begin(life, size ? data[0] : 0);
    for (i = 1; i + 1 < size && i < 2 * LIFE_STEPS; i += 2) {
        steps[data[i] % (sizeof(steps) / sizeof(*steps))](life, data[i + 1]);
        life_check(life);
    }
    staple_cache_unmap(life->cache);
    life_clear_file(life, 0);
}

#endif /* STAPLE_FUZZ_CACHE_LIFE_H */
