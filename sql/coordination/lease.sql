-- One row is a lock that somebody holds, or held: a resource, here an account, and until when, by
-- this server's clock. The token only grows. A release expires the row and never deletes it.
create table shardbank.lease (
    resource   bigint primary key,
    token      bigint not null,
    expires_at timestamptz not null,
    owner      uuid not null
) with (fillfactor = 50);
