/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Responses that an administrator puts into files (StapleResponseFile), for
 * servers that have no way out to a responder: when to look again, and how
 * bytes become DER. Whether they are true is judged like any other response.
 *
 * The one idea: a file is known by its inode, size and time of change, so a
 * new one is taken over however it was put there; half a file that is still
 * being written does not verify, and is read again when it has changed.
 */

#include "staple_refresh_int.h"

#include <string.h>

#include <apr_file_info.h>
#include <apr_file_io.h>
#include <apr_strings.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>

/* PEM takes a third more than DER, and may have words around it. */
#define FILE_SIZE_MAX ((apr_off_t)(2 * STAPLE_CACHE_DER_MAX))

#define PEM_NAME "OCSP RESPONSE"

int staple_refresh_file_changed(const response_file_t *file,
                                apr_pool_t *ptemp)
{
    apr_finfo_t info;

    if (apr_stat(&info, file->path, APR_FINFO_MTIME | APR_FINFO_SIZE
                                    | APR_FINFO_INODE, ptemp)) {
        return !file->is_missing;
    }
    return file->is_missing || info.mtime != file->mtime
           || info.size != file->size || info.inode != file->inode;
}

static apr_status_t read_all(response_file_t *file, char **bytes,
                             apr_size_t *len, apr_pool_t *ptemp)
{
    apr_file_t *in;
    apr_finfo_t info;
    apr_status_t rv = apr_file_open(&in, file->path, APR_READ | APR_BINARY,
                                    APR_OS_DEFAULT, ptemp);

    if (rv) {
        return rv;
    }
    rv = apr_file_info_get(&info, APR_FINFO_MTIME | APR_FINFO_SIZE
                                  | APR_FINFO_INODE | APR_FINFO_TYPE, in);
    if (!rv && (info.filetype != APR_REG || info.size > FILE_SIZE_MAX)) {
        rv = APR_EGENERAL;
    }
    if (!rv) {
        *len = (apr_size_t)info.size;
        *bytes = apr_palloc(ptemp, *len + 1);
        rv = *len ? apr_file_read_full(in, *bytes, *len, NULL) : APR_SUCCESS;
        file->mtime = info.mtime;
        file->size = info.size;
        file->inode = info.inode;
    }
    apr_file_close(in);
    return rv;
}

/* The DER inside PEM; NULL where there is none. */
static const unsigned char *from_pem(const char *bytes, apr_size_t size,
                                     apr_size_t *len, apr_pool_t *ptemp)
{
    BIO *bio = BIO_new_mem_buf(bytes, (int)size);
    char *name = NULL, *header = NULL;
    unsigned char *data = NULL, *der = NULL;
    long data_len = 0;

    if (bio && PEM_read_bio(bio, &name, &header, &data, &data_len) == 1
        && !strcmp(name, PEM_NAME) && data_len > 0) {
        *len = (apr_size_t)data_len;
        der = apr_pmemdup(ptemp, data, *len);
    }
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_free(data);
    BIO_free(bio);
    ERR_clear_error();
    return der;
}

apr_status_t staple_refresh_file_read(response_file_t *file,
                                      const unsigned char **der,
                                      apr_size_t *len, const char **reason,
                                      apr_pool_t *ptemp)
{
    char *bytes;
    apr_size_t size;
    char text[120];
    apr_status_t rv = read_all(file, &bytes, &size, ptemp);

    file->is_missing = rv != APR_SUCCESS;
    if (rv) {
        *reason = rv == APR_EGENERAL
                  ? "is no regular file of at most 128 KiB"
                  : apr_pstrcat(ptemp, "cannot be read by the server's "
                                "children: ",
                                apr_strerror(rv, text, sizeof(text)), NULL);
        return rv;
    }
    if (size && bytes[0] == 0x30) { /* DER: a SEQUENCE */
        *der = (const unsigned char *)bytes;
        *len = size;
        return APR_SUCCESS;
    }
    *der = from_pem(bytes, size, len, ptemp);
    if (!*der) {
        *reason = "is neither DER nor PEM with an " PEM_NAME;
        return APR_EGENERAL;
    }
    return APR_SUCCESS;
}
