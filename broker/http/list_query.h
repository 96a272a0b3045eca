/** What a query asks of a list that is already written: filter by name, order, one page, exact columns.
 *
 *      columns=a,b.c   sort=a.b  sort_reverse=true   page=1  page_size=100  name=TEXT  use_regex=true
 *
 *  Without sort= the order is RabbitMQ's: by vhost and name; `sort=` without a value leaves it as it is. The loop writes the whole list with the top-level fields that are needed; the rest is done here, on the http thread, so that
 *  a sorted list of many queues costs the broker no more than the list.  @spec management-api 1.6
 */
#ifndef SLC_HTTP_LIST_QUERY_H
#define SLC_HTTP_LIST_QUERY_H

#include "http/request.h"

enum { SLC_LIST_PAGE_MAX = 500, SLC_LIST_PAGE_DEFAULT = 100, SLC_LIST_NEEDS_MAX = 8 };

/** Rewrite the answer of a GET, or turn it into 400. @thread the http thread's */
void slc_list_query(slc_http_request *request);
/** The query needs these fields of every entry, whatever columns= says. Returns how many. */
uint32_t slc_list_query_needs(const slc_path *path, slc_slice names[SLC_LIST_NEEDS_MAX]);
/** Columns have to be looked at again when the list is written. */
bool slc_list_query_again(const slc_path *path);

#endif
