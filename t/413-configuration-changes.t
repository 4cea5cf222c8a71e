# Licensed under the Apache License, Version 2.0; see LICENSE.

# What administrators do to a server at work: take the module out and put it
# back, move the ring's file, delete it, change its size, plant something in
# its place. No restart fails, and no staple is lost that could be kept.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(ocsp => $responder->url);
# A busy machine may take longer than the default.
my $warmup = "<IfModule staple_module>\nStapleWarmup 60\n</IfModule>";
my $httpd = Staple::Httpd->new(conf => stapling($warmup),
                               vhosts => [{ cert => $leaf }]);
my $logs = $httpd->dir . '/logs';

sub stapled
{
    my ($what) = @_;

    is(handshake($httpd)->{staple}, 'good', $what);
}

sub cache_at
{
    my ($path, $size) = @_;

    $httpd->{conf} = "SSLUseStapling on\n"
        . "SSLStaplingCache \"shmcb:$path($size)\"\n"
        . "$warmup\n";
    $httpd->write_conf;
}

# What processes have open.
sub files_of
{
    return grep { defined } map { readlink } map { glob "/proc/$_/fd/*" }
        grep { $_ } @_;
}

# The ring's files that the server has open, each once: the refresher alone has.
sub rings
{
    my %is_open = map { $_ => 1 } grep { m{/logs/(?:stapling|moved)} }
        files_of($httpd->pid, $httpd->children, $httpd->refresher);

    return sort keys %is_open;
}

# It looks for a new one each second. Only root may look into it.
sub has_ring
{
    my ($path, $what) = @_;

    SKIP: {
        skip 'the refresher lets only root look into it', 1 if $>;
        wait_for(sub { "@{[rings()]}" eq $path });
        is_deeply([rings()], [$path], $what);
    }
    is(scalar(grep { $_ eq $path } files_of($httpd->pid, $httpd->children)), 0,
       '... and by nobody but the refresher');
}

# What processes of the server hold with which the ring's memory is written.
sub writers
{
    return grep { /memfd:staple/ } files_of($httpd->pid, $httpd->children);
}

$httpd->start;
is(wait_for_staple($httpd, 'good')->{staple}, 'good', 'stapled at first');
my $asked = $responder->count;
$responder->tell('hang-before');

# Without the module, and with it again. SSLStaplingCache stays: mod_ssl 2.4
# does not survive its removal by a restart, whoever else is there.
for my $how (qw(graceful restart)) {
    my $conf = $httpd->{conf};

    $httpd->{staple} = 0;
    $httpd->{conf} =~ s/SSLUseStapling on/SSLUseStapling off/;
    $httpd->write_conf;
    $httpd->$how;
    my $got = handshake($httpd);
    ok($got->{ok}, "$how: the server works without the module");
    is($got->{staple}, 'none', 'and staples nothing');
    is(scalar(writers()), 0, 'and no process of it could write the ring');
    $httpd->{staple} = 1;
    $httpd->{conf} = $conf;
    $httpd->write_conf;
    $httpd->$how;
    stapled("$how: back again, stapled at once");
    has_ring("$logs/stapling_cache", 'one ring file is held');
}

# The module stays, and has nothing to do for a while.
for my $how (qw(graceful restart)) {
    my $conf = $httpd->{conf};

    $httpd->{conf} =~ s/SSLUseStapling on/SSLUseStapling off/;
    $httpd->write_conf;
    $httpd->$how;
    is(handshake($httpd)->{staple}, 'none', "$how: SSLUseStapling off");
    is(scalar(writers()), 0, 'no process could write the ring');
    is_deeply([rings()], [], 'and none has its file');
    $httpd->{conf} = $conf;
    $httpd->write_conf;
    $httpd->$how;
    stapled("$how: on again, stapled at once");
    like(($httpd->error_log =~ /(STP0101.*)/g)[-1],
         qr/1 response taken over(?! from before the stop)/, '... from memory');
    has_ring("$logs/stapling_cache", 'one ring file is held');
}

# Elsewhere, larger, smaller, and anonymous.
cache_at('logs/moved', 128000);
$httpd->graceful;
stapled('another path: stapled at once');
has_ring("$logs/moved", 'the ring is held there');
is(sprintf('%o', (stat "$logs/moved")[2] & 07777), '600', 'of mode 0600');
cache_at('logs/moved', 512000);
$httpd->graceful;
stapled('larger: stapled at once');
cache_at('logs/moved', 8192);
$httpd->graceful;
stapled('as small as can be: stapled at once');
cache_at('', 128000);
$httpd->graceful;
stapled('without a file: stapled at once');
cache_at('logs/moved', 128000);
$httpd->graceful;
stapled('with a file again: stapled at once');

# Deleted under the server's hands.
unlink "$logs/moved";
stapled('deleted: still stapled');
$httpd->graceful;
stapled('deleted, then restarted: stapled at once');
ok(-e "$logs/moved", 'the file is there again');

# Something else in its place.
$httpd->log_ok;
unlink "$logs/moved";
symlink '/etc/passwd', "$logs/moved";
$httpd->graceful;
stapled('a link was planted: stapled from memory');
$httpd->log_ok(qr/STP010[45]/);
unlink "$logs/moved";
$httpd->graceful;
stapled('the link is gone: stapled at once');
ok(-f "$logs/moved", 'and kept in a file again');

# The directory is gone, or not writable for anybody.
cache_at('nowhere/cache', 128000);
$httpd->graceful;
stapled('no such directory: stapled from memory');
$httpd->log_ok(qr/STP0105/);
cache_at('logs/moved', 128000);
$httpd->graceful;
stapled('back: stapled at once');
is($responder->count, $asked, 'and nobody was asked in all that time')
    or diag(map { "$_->{time} $_->{serial}\n" } $responder->log);

# A configuration that does not work: httpd gives up, and the next start
# brings back what there was.
my $conf = $httpd->{conf};
$httpd->{conf} .= "SSLStaplingCache shmcb:x(12)\n";
$httpd->write_conf;
kill 'USR1', $httpd->pid;
ok(wait_for(sub { !$httpd->is_alive }, 20), 'a broken configuration ends it');
# Its last children may still listen for a moment.
wait_for(sub { !handshake($httpd)->{ok} }, 20);
$httpd->{conf} = $conf;
$httpd->write_conf;
$httpd->start;
stapled('and a start brings the staples back');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/shmcb:x\(12\)|Syntax error|AH00526|AH00098/);

done_testing;
