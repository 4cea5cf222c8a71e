# Licensed under the Apache License, Version 2.0; see LICENSE.

# Mutex lines of every kind that httpd knows, for all and for the names that
# mod_staple once had locks under: what starts with mod_ssl alone starts with
# mod_staple, and staples.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(ocsp => $responder->url);
my @kinds = qw(none default sem posixsem sysvsem pthread fcntl flock file yes no);
my @names = ('default', 'staple-cache', 'staple-refresh', 'staple-share',
             'ssl-stapling staple-cache');

sub is_taken
{
    my ($httpd, $line) = @_;

    $httpd->{conf} = stapling($line);
    $httpd->write_conf;
    return !($httpd->configtest)[0];
}

my $alone = Staple::Httpd->new(staple => 0, vhosts => [{ cert => $leaf }]);
my $httpd = Staple::Httpd->new(vhosts => [{ cert => $leaf }]);
my @taken = grep { is_taken($alone, "Mutex $_ default") }
            map { ($_, "$_:{dir}/run") } @kinds;
cmp_ok(scalar @taken, '>=', 4, "httpd takes: @taken");
for my $kind (@taken) {
    ok(is_taken($httpd, join "\n", map { "Mutex $kind $_" } @names),
       "Mutex $kind: for all, and for names of ours");
}

# Where a line is for all, mod_ssl makes its own mutexes of that kind.
for my $kind (grep { is_taken($alone, "Mutex $_ default") } @kinds) {
    $alone->{conf} = stapling("Mutex $kind default");
    $alone->write_conf;
    $alone->launch;
    my $starts = $alone->await_start;
    $alone->stop if $starts;
    next if !$starts;
    $httpd->{conf} = stapling(map { "Mutex $kind $_" } @names);
    $httpd->write_conf;
    $httpd->start;
    is(wait_for_staple($httpd, 'good')->{staple}, 'good',
       "Mutex $kind: starts, and staples");
    ok($httpd->stop, 'httpd stops in good order');
}
$httpd->log_ok;

done_testing;
