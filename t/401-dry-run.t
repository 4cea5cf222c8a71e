# Licensed under the Apache License, Version 2.0; see LICENSE.

# `httpd -t` and the dry run of a start touch neither file nor network: the
# ring's file, the responder and the share all stay as they are.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

use IO::Select;
use IO::Socket::INET;

# A share that only listens, to see who comes.
my $share = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 50)
    // die "no port: $!\n";
my $has_share = has_httpd_module('socache_redis');
my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(ocsp => $responder->url);
my $httpd = Staple::Httpd->new(
    modules => $has_share ? ['socache_redis'] : [],
    conf => stapling($has_share
                     ? 'StapleShare redis:127.0.0.1:' . $share->sockport : ()),
    vhosts => [{ cert => $leaf }]);
my $logs = $httpd->dir . '/logs';
my $ring = "$logs/stapling_cache";

sub came { return scalar IO::Select->new($share)->can_read(0) }

sub files { return join ' ', map { s{.*/}{}r } sort glob "$logs/*" }

# Which file it is, and whose. (Its times are moved by the server's own stores.)
sub state_of { return join ' ', (stat $_[0])[1 .. 5, 7] }

my ($exit, $out) = $httpd->configtest;
is($exit, 0, 'httpd -t') or diag($out);
($exit, $out) = $httpd->configtest('-D', 'DUMP_VHOSTS');
is($exit, 0, 'httpd -t -D DUMP_VHOSTS') or diag($out);
unlike(files(), qr/stapling/, 'no file was made');
is($responder->count, 0, 'no responder was asked');
ok(!came(), 'the share was not asked');

# A start that fails: the port is taken.
my $taken = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1)
    // die "no port: $!\n";
my @port = @{ $httpd->{port} };
$httpd->{port} = [$taken->sockport];
$httpd->write_conf;
like($httpd->start_fails // '', qr/could not bind/, 'a start without a port');
unlike(files(), qr/stapling/, 'made no file');
is($responder->count, 0, 'asked no responder');
ok(!came(), 'asked no share');

$httpd->{port} = \@port;
$httpd->write_conf;
$httpd->log_ok(qr/AH0007\d|could not bind|Unable to open logs|no listening/);
$httpd->start;
is(wait_for_staple($httpd, 'good')->{staple}, 'good', 'a start for real');
ok(came(), 'asks the share') if $has_share;
$share->close;
my $before = state_of($ring);
my $asked = $responder->count;

# Beside the server at work.
$httpd->configtest for 1 .. 3;
is(state_of($ring), $before, 'httpd -t leaves the file of a server alone');
my $other = Staple::Httpd->new(conf => $httpd->{conf} =~ s/logs\//$logs\//r,
                               modules => $httpd->{modules},
                               vhosts => $httpd->{vhosts});
$other->{port} = [$taken->sockport];
$other->write_conf;
like($other->start_fails // '', qr/could not bind/,
     'and so does a start that fails');
is(state_of($ring), $before, 'even with the same path');
is($responder->count, $asked, 'nobody was asked again');

# One segment for the start, so none for its dry run.
my $ringdump = Staple::Work::build_dir() . '/t/tools/ringdump';
my (undef, $dump) = run($ringdump, $ring);
like($dump, qr/generation:?\s+1\b/i, 'the ring is of the first generation');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/socache_redis|redis/i);

done_testing;
