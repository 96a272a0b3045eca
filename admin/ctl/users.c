// Users and their limits; and what all changes and lists of this kind share.
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "ctl.h"

int slc_ctl_apply(slc_ctl *ctl, const char *method, char *path, json_t *body, int not_found)
{
    slc_ctl_reply reply;
    // --dry-run shows what would be sent; secrets are nobody's to see there.
    if (ctl->dry_run && json_object_get(body, "password") != NULL)
        json_object_set_new(body, "password", json_string("(not shown)"));
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    int rc = slc_ctl_send(ctl, method, path, text, text != NULL ? strlen(text) : 0, &reply);
    free(text); // NOLINT: jansson's own allocation
    json_decref(body);
    slc_free(path);
    if (rc != CTL_OK || ctl->dry_run)
        return rc;
    if (reply.status == 404)
        rc = slc_ctl_reply_error(&reply, not_found);
    else if (reply.status / 100 != 2)
        rc = slc_ctl_reply_error(&reply, CTL_DATA);
    slc_ctl_reply_fini(&reply);
    return rc;
}

int slc_ctl_no_user(const slc_ctl *ctl, const char *name, bool changing)
{
    // rabbitmqctl has a code for it where a user is changed, and none of its own elsewhere.
    return slc_ctl_error(ctl->alias && !changing ? CTL_UNAVAILABLE : CTL_NO_USER,
                         "User \"%s\" does not exist", name);
}

int slc_ctl_no_vhost(const slc_ctl *ctl)
{
    return slc_ctl_error(CTL_DATA, "Virtual host '%s' does not exist", ctl->vhost);
}

/** The second argument, or a line of standard input. False: none. */
static bool password_of(const slc_ctl *ctl, char *out, size_t cap)
{
    if (ctl->arg_count > 1) {
        snprintf(out, cap, "%s", ctl->args[1]);
        return true;
    }
    if (isatty(STDIN_FILENO)) {
        const char *typed = getpass("Password: ");
        if (typed == NULL)
            return false;
        snprintf(out, cap, "%s", typed);
        return true;
    }
    if (fgets(out, (int)cap, stdin) == NULL)
        return false;
    out[strcspn(out, "\r\n")] = '\0';
    return true;
}

/** The user as it is; a new reference in *out, NULL when there is none. */
static int user_get(slc_ctl *ctl, json_t **out)
{
    slc_ctl_reply reply;
    char *path = slc_ctl_path("/api/users/%s", ctl->args[0]);
    bool dry_run = ctl->dry_run;
    ctl->dry_run = false; // it changes nothing
    int rc = slc_ctl_request(ctl, "GET", path, NULL, &reply);
    ctl->dry_run = dry_run;
    slc_free(path);
    *out = NULL;
    if (rc != CTL_OK)
        return rc;
    if (reply.status == 200)
        *out = json_incref(reply.body);
    slc_ctl_reply_fini(&reply);
    return CTL_OK;
}

/** Change some of an existing user and keep the rest. body is taken. */
static int user_update(slc_ctl *ctl, json_t *body)
{
    static const char *const kept[] = {"tags", "password_hash", "hashing_algorithm"};
    json_t *user;
    int rc = user_get(ctl, &user);
    if (rc == CTL_OK && user == NULL)
        rc = slc_ctl_no_user(ctl, ctl->args[0], ctl->command->run != slc_ctl_clear_password);
    if (rc != CTL_OK) {
        json_decref(body);
        return rc;
    }
    for (size_t i = 0; i < SLC_ARRAY_COUNT(kept); i++) {
        if (json_object_get(body, kept[i]) == NULL &&
            !(i > 0 && json_object_get(body, "password") != NULL))
            json_object_set(body, kept[i], json_object_get(user, kept[i]));
    }
    json_decref(user);
    return slc_ctl_apply(ctl, "PUT", slc_ctl_path("/api/users/%s", ctl->args[0]), body,
                         CTL_NO_USER);
}

int slc_ctl_add_user(slc_ctl *ctl)
{
    char password[1200];
    slc_ctl_banner(ctl, "Adding user \"%s\" ...", ctl->args[0]);
    json_t *user;
    int rc = user_get(ctl, &user);
    if (rc != CTL_OK)
        return rc;
    if (user != NULL) {
        json_decref(user);
        return slc_ctl_error(CTL_SOFTWARE, "User \"%s\" already exists", ctl->args[0]);
    }
    if (!password_of(ctl, password, sizeof password) || password[0] == '\0')
        return slc_ctl_error(CTL_DATA, "password cannot be an empty string");
    json_t *body =
        json_pack("{s:s,s:[]}", ctl->pre_hashed ? "password_hash" : "password", password, "tags");
    explicit_bzero(password, sizeof password);
    if (body == NULL)
        return slc_ctl_error(CTL_DATA, "the password is not UTF-8");
    rc = slc_ctl_apply(ctl, "PUT", slc_ctl_path("/api/users/%s", ctl->args[0]), body, CTL_DATA);
    if (rc == CTL_OK && !ctl->dry_run)
        slc_ctl_banner(ctl,
                       "Done. Don't forget to grant the user permissions to some virtual "
                       "hosts! See '%s help set_permissions' to learn more.",
                       ctl->program);
    return rc;
}

int slc_ctl_hash_password(slc_ctl *ctl)
{
    char password[1200];
    uint8_t salted[4 + SHA256_DIGEST_LENGTH];
    char text[4 * ((sizeof salted + 2) / 3) + 1];
    // Here the password is the first argument.
    if (ctl->arg_count == 1)
        snprintf(password, sizeof password, "%s", ctl->args[0]);
    else if (!password_of(ctl, password, sizeof password))
        password[0] = '\0';
    if (password[0] == '\0')
        return slc_ctl_error(CTL_DATA, "password cannot be an empty string");
    size_t bytes = strlen(password);
    uint8_t *input = slc_alloc(4 + bytes);
    int rc = getrandom(salted, 4, 0) == 4 ? CTL_OK : CTL_SOFTWARE;
    memcpy(input, salted, 4);
    memcpy(input + 4, password, bytes);
    SHA256(input, 4 + bytes, salted + 4);
    explicit_bzero(input, 4 + bytes);
    explicit_bzero(password, sizeof password);
    slc_free(input);
    EVP_EncodeBlock((unsigned char *)text, salted, sizeof salted);
    if (rc != CTL_OK)
        return slc_ctl_error(rc, "no random numbers: %s", strerror(errno));
    slc_ctl_banner(ctl, "Will hash the password ...");
    printf("%s\n", text);
    return CTL_OK;
}

int slc_ctl_change_password(slc_ctl *ctl)
{
    char password[1200];
    slc_ctl_banner(ctl, "Changing password for user \"%s\" ...", ctl->args[0]);
    if (!password_of(ctl, password, sizeof password) || password[0] == '\0')
        return slc_ctl_error(CTL_DATA, "password cannot be an empty string");
    json_t *body = json_pack("{s:s}", "password", password);
    explicit_bzero(password, sizeof password);
    return body != NULL ? user_update(ctl, body)
                        : slc_ctl_error(CTL_DATA, "the password is not UTF-8");
}

int slc_ctl_clear_password(slc_ctl *ctl)
{
    slc_ctl_banner(ctl, "Clearing password for user \"%s\" ...", ctl->args[0]);
    return user_update(ctl, json_pack("{s:s}", "password_hash", ""));
}

int slc_ctl_delete_user(slc_ctl *ctl)
{
    slc_ctl_banner(ctl, "Deleting user \"%s\" ...", ctl->args[0]);
    return slc_ctl_apply(ctl, "DELETE", slc_ctl_path("/api/users/%s", ctl->args[0]), NULL,
                         CTL_NO_USER);
}

int slc_ctl_set_user_tags(slc_ctl *ctl)
{
    return user_update(ctl, json_pack("{s:o}", "tags", slc_ctl_tags(ctl, "user")));
}

json_t *slc_ctl_tags(const slc_ctl *ctl, const char *what)
{
    json_t *tags = json_array();
    slc_buffer text = {0};
    for (int i = 1; i < ctl->arg_count; i++) {
        json_array_append_new(tags, json_string(ctl->args[i]));
        slc_buffer_format(&text, "%s%s", i > 1 ? ", " : "", ctl->args[i]);
    }
    slc_ctl_banner(ctl, "Setting tags for %s \"%s\" to [%.*s] ...", what, ctl->args[0],
                   SLC_SLICE_FMT(slc_buffer_slice(&text)));
    slc_buffer_fini(&text);
    return tags;
}

int slc_ctl_authenticate_user(slc_ctl *ctl)
{
    char password[1200];
    slc_ctl_banner(ctl, "Authenticating user \"%s\" ...", ctl->args[0]);
    if (!password_of(ctl, password, sizeof password))
        return slc_ctl_error(CTL_DATA, "no password");
    json_t *body = json_pack("{s:s,s:s}", "username", ctl->args[0], "password", password);
    explicit_bzero(password, sizeof password);
    int rc = slc_ctl_apply(ctl, "POST", slc_strdup("/api/sluice/authenticate"), body, CTL_DATA);
    if (rc == CTL_OK && !ctl->silent)
        printf("Success\n");
    return rc;
}

int slc_ctl_list_users(slc_ctl *ctl)
{
    static const char *const columns[] = {"user", "tags"}, *const keys[] = {"name", "tags"};
    slc_ctl_banner(ctl, "Listing users ...");
    return slc_ctl_rows(ctl, slc_strdup("/api/users"), columns, keys, 2);
}

int slc_ctl_limits_line(slc_ctl *ctl, char *path, const char *none)
{
    slc_ctl_reply reply;
    if (ctl->sort != NULL || ctl->reverse || ctl->columns != NULL || ctl->filter_count > 0) {
        slc_free(path);
        return slc_ctl_usage_error(
            ctl, "without --global there are no rows to choose from or to put in order");
    }
    int rc = slc_ctl_request(ctl, "GET", path, NULL, &reply);
    slc_free(path);
    if (rc != CTL_OK)
        return rc;
    const json_t *value = json_object_get(json_array_get(reply.body, 0), "value");
    slc_ctl_cell cell = slc_ctl_json_cell(value);
    if (reply.status == 404)
        rc = ctl->user != NULL ? slc_ctl_no_user(ctl, ctl->user, false) : slc_ctl_no_vhost(ctl);
    else if (reply.status != 200)
        rc = slc_ctl_reply_error(&reply, CTL_SOFTWARE);
    else if (value != NULL)
        printf("%.*s\n", SLC_SLICE_FMT(cell.text));
    else
        printf("%s\n", none);
    slc_ctl_cell_fini(&cell);
    slc_ctl_reply_fini(&reply);
    return rc;
}

int slc_ctl_limits_set(slc_ctl *ctl, const char *text, const char *path, const char *name,
                       const char *other, const char *what, int no_object)
{
    json_t *limits = slc_ctl_json_argument(text);
    int rc = limits != NULL ? CTL_OK : CTL_UNAVAILABLE;
    if (rc == CTL_OK && !json_is_object(limits))
        rc = slc_ctl_error(CTL_DATA, "'%s' is no JSON object", text);
    const char *key;
    json_t *value;
    json_object_foreach(limits, key, value)
    {
        if (rc == CTL_OK && strcmp(key, "max-connections") != 0 && strcmp(key, other) != 0)
            rc = slc_ctl_error(CTL_UNAVAILABLE,
                               "'%s' is no limit of a %s: there are max-connections and %s", key,
                               what, other);
    }
    json_object_foreach(limits, key, value)
    {
        if (rc == CTL_OK)
            rc = slc_ctl_apply(ctl, "PUT", slc_ctl_path(path, name, key),
                               json_pack("{s:O}", "value", value), no_object);
    }
    json_decref(limits);
    return rc;
}

int slc_ctl_set_user_limits(slc_ctl *ctl)
{
    slc_ctl_banner(ctl, "Setting user limits to \"%s\" for user \"%s\" ...", ctl->args[1],
                   ctl->args[0]);
    return slc_ctl_limits_set(ctl, ctl->args[1], "/api/user-limits/%s/%s", ctl->args[0],
                              "max-channels", "user", CTL_UNAVAILABLE);
}

int slc_ctl_clear_user_limits(slc_ctl *ctl)
{
    bool all = strcmp(ctl->args[1], "all") == 0;
    const char *names[] = {all ? "max-connections" : ctl->args[1], "max-channels"};
    if (all)
        slc_ctl_banner(ctl, "Clearing all limits for user \"%s\" ...", ctl->args[0]);
    else
        slc_ctl_banner(ctl, "Clearing \"%s\" limit for user \"%s\" ...", ctl->args[1],
                       ctl->args[0]);
    int rc = CTL_OK;
    for (int i = 0; rc == CTL_OK && i < (all ? 2 : 1); i++)
        rc = slc_ctl_apply(ctl, "DELETE",
                           slc_ctl_path("/api/user-limits/%s/%s", ctl->args[0], names[i]), NULL,
                           CTL_UNAVAILABLE);
    return rc;
}

int slc_ctl_list_user_limits(slc_ctl *ctl)
{
    static const char *const columns[] = {"user", "limits"}, *const keys[] = {"user", "value"};
    if (ctl->user != NULL && !ctl->global) {
        slc_ctl_banner(ctl, "Listing limits for user \"%s\" ...", ctl->user);
        return slc_ctl_limits_line(ctl, slc_ctl_path("/api/user-limits/%s", ctl->user), "{}");
    }
    slc_ctl_banner(ctl, "Listing limits for all users ...");
    return slc_ctl_rows(ctl, slc_strdup("/api/user-limits"), columns, keys, 2);
}
