/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Responses in a directory (StapleResponseDirectory): for certificates that are
 * in service, or will be after the next restart, so that whoever renews a
 * certificate can leave its first response there.
 *
 * The one idea: what is in there is an offer. What is for no certificate of
 * ours, or no better than what is held, is passed over without a word; what
 * is of use is judged and stored like any other response.
 *
 * A file is put there by a rename, which changes the time of the directory, so
 * one look at that says whether there is something new; and what was put there
 * has a ctime by the same clock, which says what it is.
 *
 * Whoever may write to the directory is not trusted with more than that:
 * however many files there are, and however often they change, looks take a
 * tenth of the refresher's time at most, and warnings are ten a minute.
 */

#include "refresh_int.h"

#include "staple_clock.h"
#include "staple_text.h"

#include <string.h>

#include <apr_file_info.h>
#include <apr_strings.h>

/* How its files are called: as `staplectl fetch` calls them. */
#define SUFFIX ".ocsp"

/* How often the directory is looked at, if that does not take long. */
#define LOOK_PAUSE SECONDS(1)
#define PAUSE_FOR_TIME 9

/* Clocks of file systems tick more slowly than things happen: what changed less
 * than this ago may have changed again at the same moment. */
#define TICK SECONDS(3)

/* So many new files are read at a time, and so many more a certificate. */
#define FILES_MAX 1000
#define FILES_PER_CERT 10

#define MINUTE SECONDS(60)
#define WARNINGS_MAX 10

/* One look. */
typedef struct look_t {
    staple_refresh_t *refresh;
    apr_time_t since;  /* what did not change since then was read before */
    apr_size_t room;   /* how many files more are read */
    int is_full;       /* there was one more */
} look_t;

/* ----- what is warned about ----- */

static int was_told(const response_directory_t *directory,
                    const apr_finfo_t *info)
{
    const apr_size_t most = sizeof(directory->told)
                            / sizeof(directory->told[0]);
    apr_size_t i;

    for (i = 0; i < most && i < directory->told_count; i++) {
        if (directory->told[i].inode == info->inode
            && directory->told[i].ctime == info->ctime) {
            return 1;
        }
    }
    return 0;
}

static void note_told(response_directory_t *directory, const apr_finfo_t *info)
{
    const apr_size_t most = sizeof(directory->told)
                            / sizeof(directory->told[0]);
    response_file_t *place = &directory->told[directory->told_count++ % most];

    place->inode = info->inode;
    place->ctime = info->ctime;
}

/* Whether there is a warning left in this minute. */
static int may_warn(response_directory_t *directory)
{
    if (directory->warnings >= WARNINGS_MAX) {
        directory->unsaid++;
        return 0;
    }
    directory->warnings++;
    return 1;
}

static void begin_minute(staple_refresh_t *refresh, apr_time_t now)
{
    response_directory_t *directory = &refresh->directory;

    if (now - directory->minute >= 0 && now - directory->minute < MINUTE) {
        return;
    }
    if (directory->unsaid) {
        staple_refresh_log_unsaid(refresh->conf.server, directory->self.path,
                                  directory->unsaid);
    }
    directory->minute = now;
    directory->warnings = directory->unsaid = 0;
}

/* Once for a file, however often it is read before the clock has ticked. Its
 * name is a stranger's, and the log may be JSON. */
static void refuse_file(const look_t *look, const apr_finfo_t *info,
                        const char *path, const char *reason,
                        apr_pool_t *ptemp)
{
    response_directory_t *directory = &look->refresh->directory;
    apr_size_t len = strlen(path);

    if (!was_told(directory, info)) {
        note_told(directory, info);
        if (may_warn(directory)) {
            staple_refresh_log_not_read(look->refresh->conf.server,
                                        staple_text_name(path, len, len,
                                                         ptemp), reason);
        }
    }
}

static void refuse_directory(staple_refresh_t *refresh, const char *reason)
{
    if (may_warn(&refresh->directory)) {
        staple_refresh_log_not_read(refresh->conf.server,
                                    refresh->directory.self.path, reason);
    }
}

/* ----- a file ----- */

static void offer_to_all(staple_refresh_t *refresh, const unsigned char *der,
                         apr_size_t len, apr_pool_t *ptemp)
{
    apr_size_t i;

    for (i = 0; i < refresh->count; i++) {
        task_t *task = &refresh->tasks[i];

        if (task->cert && task->cert->subject && !task->is_set_aside
            && staple_ocsp_may_be_about(task->cert->subject, der, len)) {
            staple_refresh_offer(task, der, len, ptemp);
        }
    }
}

/* An error: it is to be read again. */
static apr_status_t take_file(const look_t *look, const apr_finfo_t *info,
                              const char *path, apr_pool_t *ptemp)
{
    const unsigned char *der;
    const char *reason;
    apr_size_t len;
    apr_status_t rv = staple_refresh_read_file(path, &der, &len, &reason,
                                               ptemp);

    if (rv) {
        refuse_file(look, info, path, reason, ptemp);
        return staple_refresh_is_shortage(rv) ? rv : APR_SUCCESS;
    }
    offer_to_all(look->refresh, der, len, ptemp);
    return APR_SUCCESS;
}

/* ----- the directory ----- */

static int is_name_wanted(const char *name)
{
    apr_size_t len = strlen(name), suffix = strlen(SUFFIX);

    return len > suffix && !strcmp(name + len - suffix, SUFFIX);
}

/* Take a file if it is new; one that has gone meanwhile is none. An error:
 * nobody knows whether it is new. */
static apr_status_t take_entry(look_t *look, const char *name,
                               apr_pool_t *ptemp)
{
    const char *path = apr_pstrcat(ptemp, look->refresh->directory.self.path,
                                   "/", name, NULL);
    apr_finfo_t info;
    apr_status_t rv = apr_stat(&info, path, APR_FINFO_LINK | APR_FINFO_CTIME
                                            | APR_FINFO_INODE, ptemp);

    if (rv) {
        return APR_STATUS_IS_ENOENT(rv) ? APR_SUCCESS : rv;
    }
    if (info.ctime < look->since) {
        return APR_SUCCESS;
    }
    look->is_full = !look->room;
    if (look->is_full) {
        return APR_SUCCESS;
    }
    look->room--;
    return take_file(look, &info, path, ptemp);
}

/* Take all that came since then, or that is there; returns what has kept any of
 * it from being looked at. */
static apr_status_t take_files(look_t *look, apr_dir_t *dir, apr_pool_t *p_file)
{
    const staple_refresh_conf_t *conf = &look->refresh->conf;
    apr_status_t worst = APR_SUCCESS, rv = APR_SUCCESS;
    apr_finfo_t info;

    while (!look->is_full && !conf->is_ending(conf->baton)
           && !(rv = apr_dir_read(&info, APR_FINFO_NAME, dir))) {
        if (is_name_wanted(info.name)) {
            rv = take_entry(look, info.name, p_file);
            worst = rv ? rv : worst;
            apr_pool_clear(p_file);
        }
        conf->beat(conf->baton);
    }
    if (look->is_full) {
        refuse_directory(look->refresh, "has more new files than can be of "
                         "use; the rest is not read");
    }
    return rv && !APR_STATUS_IS_ENOENT(rv) ? rv : worst;
}

static apr_status_t look_into(look_t *look, apr_pool_t *ptemp)
{
    apr_pool_t *p_file;
    apr_dir_t *dir;
    apr_status_t rv = apr_dir_open(&dir, look->refresh->directory.self.path,
                                   ptemp);

    if (rv) {
        return rv;
    }
    apr_pool_create(&p_file, ptemp);
    rv = take_files(look, dir, p_file);
    apr_dir_close(dir);
    return rv;
}

/* Whether what fails so goes by itself, with no change to the directory. */
static int is_passing(apr_status_t rv)
{
    return !APR_STATUS_IS_EACCES(rv) && !APR_STATUS_IS_ENOENT(rv)
           && !APR_STATUS_IS_ENOTDIR(rv);
}

/* Where anything could not be looked at, the next look is at everything. */
static void note_look(staple_refresh_t *refresh, apr_status_t rv,
                      apr_time_t now, apr_pool_t *ptemp)
{
    response_directory_t *directory = &refresh->directory;
    char text[120];

    directory->looked = rv ? 0 : now;
    if (rv && is_passing(rv)) {
        directory->self.is_seen = 0;
    }
    if (rv && !directory->is_refused) {
        refuse_directory(refresh,
                         apr_pstrcat(ptemp, "cannot be read whole by the "
                                     "refresher: ",
                                     apr_strerror(rv, text, sizeof(text)),
                                     NULL));
    }
    directory->is_refused = rv != APR_SUCCESS;
}

/* Since when what changed is new. The time of the directory may be anything:
 * tar and rsync set it. */
static apr_time_t since_when(const response_directory_t *directory,
                             const response_file_t *before)
{
    if (!directory->looked || before->inode != directory->self.inode) {
        return 0;
    }
    return before->mtime < directory->looked ? before->mtime
                                             : directory->looked - TICK;
}

int staple_refresh_is_directory_due(const staple_refresh_t *refresh,
                                    apr_time_t now)
{
    return refresh->directory.self.path && now >= refresh->directory.due;
}

void staple_refresh_look_at_directory(staple_refresh_t *refresh,
                                      apr_time_t now)
{
    response_directory_t *directory = &refresh->directory;
    response_file_t before = directory->self;
    apr_time_t began = staple_clock_now();
    look_t look;
    apr_pool_t *p;

    if (!staple_refresh_is_directory_due(refresh, now)) {
        return;
    }
    begin_minute(refresh, now);
    apr_pool_create(&p, refresh->pool);
    if (staple_refresh_is_file_changed(&directory->self, p)
        || now - before.mtime < TICK) {
        look.refresh = refresh;
        look.since = since_when(directory, &before);
        look.is_full = 0;
        look.room = FILES_MAX + FILES_PER_CERT * refresh->count;
        note_look(refresh, look_into(&look, p), now, p);
    }
    apr_pool_destroy(p);
    directory->due = now + LOOK_PAUSE
                     + PAUSE_FOR_TIME * (staple_clock_now() - began);
}
