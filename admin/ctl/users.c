// Users and their limits; and what all changes and lists of this kind share.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static const json_t *value_at(const json_t *object, const char *path)
{
    char part[64];
    while (object != NULL) {
        size_t bytes = strcspn(path, ".");
        snprintf(part, sizeof part, "%.*s", (int)bytes, path);
        object = json_object_get(object, part);
        if (path[bytes] == '\0')
            return object;
        path += bytes + 1;
    }
    return NULL;
}

/** An array is shown as [a, b], an object as JSON. */
static slc_ctl_cell cell_of(const json_t *value)
{
    slc_buffer text = {0};
    if (json_is_string(value))
        return (slc_ctl_cell){
            .kind = CELL_TEXT,
            .text = slc_slice_of(json_string_value(value), json_string_length(value))};
    if (json_is_array(value)) {
        slc_buffer_text(&text, "[");
        for (size_t i = 0; i < json_array_size(value); i++)
            slc_buffer_format(&text, "%s%s", i > 0 ? ", " : "",
                              json_string_value(json_array_get(value, i)));
        slc_buffer_text(&text, "]");
    } else if (value != NULL) {
        char *json = json_dumps(value, JSON_ENCODE_ANY);
        slc_buffer_text(&text, json);
        free(json);
    } else {
        return (slc_ctl_cell){0};
    }
    return (slc_ctl_cell){.kind = CELL_TEXT, .owned = true, .text = slc_buffer_slice(&text)};
}

int slc_ctl_rows(slc_ctl *ctl, char *path, const char *const *columns, const char *const *keys,
                 uint32_t count)
{
    slc_ctl_reply reply;
    int rc = slc_ctl_request(ctl, "GET", path, NULL, &reply);
    slc_free(path);
    if (rc != CTL_OK)
        return rc;
    if (reply.status / 100 != 2) {
        rc = slc_ctl_reply_error(&reply, reply.status == 404 ? CTL_NO_USER : CTL_DATA);
        slc_ctl_reply_fini(&reply);
        return rc;
    }
    slc_ctl_output out;
    slc_ctl_output_begin(&out, ctl, stdout, columns, count);
    for (size_t i = 0; i < json_array_size(reply.body); i++) {
        slc_ctl_cell cells[8] = {0};
        SLC_ASSERT(count <= SLC_ARRAY_COUNT(cells));
        for (uint32_t k = 0; k < count; k++)
            cells[k] = cell_of(value_at(json_array_get(reply.body, i), keys[k]));
        slc_ctl_output_row(&out, cells);
        for (uint32_t k = 0; k < count; k++)
            slc_ctl_cell_fini(&cells[k]);
    }
    slc_ctl_output_end(&out);
    slc_ctl_reply_fini(&reply);
    return CTL_OK;
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
        rc = slc_ctl_error(CTL_NO_USER, "User \"%s\" does not exist", ctl->args[0]);
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
    json_t *body = json_pack("{s:s,s:[]}", "password", password, "tags");
    explicit_bzero(password, sizeof password);
    if (body == NULL)
        return slc_ctl_error(CTL_DATA, "the password is not UTF-8");
    return slc_ctl_apply(ctl, "PUT", slc_ctl_path("/api/users/%s", ctl->args[0]), body, CTL_DATA);
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
    json_t *tags = json_array();
    for (int i = 1; i < ctl->arg_count; i++)
        json_array_append_new(tags, json_string(ctl->args[i]));
    slc_ctl_banner(ctl, "Setting tags for user \"%s\" ...", ctl->args[0]);
    return user_update(ctl, json_pack("{s:o}", "tags", tags));
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
    if (rc == CTL_OK && !ctl->quiet)
        printf("Success\n");
    return rc;
}

int slc_ctl_list_users(slc_ctl *ctl)
{
    static const char *const columns[] = {"user", "tags"}, *const keys[] = {"name", "tags"};
    slc_ctl_banner(ctl, "Listing users ...");
    return slc_ctl_rows(ctl, slc_strdup("/api/users"), columns, keys, 2);
}

int slc_ctl_set_user_limits(slc_ctl *ctl)
{
    json_t *limits = json_loads(ctl->args[1], 0, NULL);
    int rc = CTL_OK;
    if (!json_is_object(limits))
        rc = slc_ctl_error(CTL_DATA, "'%s' is no JSON object", ctl->args[1]);
    else
        slc_ctl_banner(ctl, "Setting user limits to \"%s\" for user \"%s\" ...", ctl->args[1],
                       ctl->args[0]);
    const char *name;
    json_t *value;
    json_object_foreach(limits, name, value)
    {
        if (rc == CTL_OK)
            rc = slc_ctl_apply(ctl, "PUT",
                               slc_ctl_path("/api/user-limits/%s/%s", ctl->args[0], name),
                               json_pack("{s:O}", "value", value), CTL_NO_USER);
    }
    json_decref(limits);
    return rc;
}

int slc_ctl_clear_user_limits(slc_ctl *ctl)
{
    bool all = strcmp(ctl->args[1], "all") == 0;
    const char *names[] = {all ? "max-connections" : ctl->args[1], "max-channels"};
    slc_ctl_banner(ctl, "Clearing \"%s\" limits for user \"%s\" ...", ctl->args[1], ctl->args[0]);
    int rc = CTL_OK;
    for (int i = 0; rc == CTL_OK && i < (all ? 2 : 1); i++)
        rc = slc_ctl_apply(ctl, "DELETE",
                           slc_ctl_path("/api/user-limits/%s/%s", ctl->args[0], names[i]), NULL,
                           CTL_NO_USER);
    return rc;
}

int slc_ctl_list_user_limits(slc_ctl *ctl)
{
    static const char *const columns[] = {"user", "limits"}, *const keys[] = {"user", "value"};
    if (ctl->user != NULL && !ctl->global)
        return slc_ctl_rows(ctl, slc_ctl_path("/api/user-limits/%s", ctl->user), columns + 1,
                            keys + 1, 1);
    slc_ctl_banner(ctl, "Listing limits for all users ...");
    return slc_ctl_rows(ctl, slc_strdup("/api/user-limits"), columns, keys, 2);
}
