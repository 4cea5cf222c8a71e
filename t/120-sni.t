# Licensed under the Apache License, Version 2.0; see LICENSE.

# SSLUseStapling is honoured for each virtual host behind one address: on is
# stapled, off is neither stapled nor asked about, and SNI decides.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my %leaf = map { $_ => $ca->leaf(name => "$_.test", ocsp => $responder->url) }
    qw(first on off);

my $httpd = Staple::Httpd->new(
    conf   => 'SSLStaplingCache "shmcb:logs/stapling_cache(128000)"',
    vhosts => [{ cert => $leaf{first}, conf => 'SSLUseStapling on' },
               { cert => $leaf{on},    conf => 'SSLUseStapling on' },
               { cert => $leaf{off},   conf => 'SSLUseStapling off' }]);
$httpd->start;

for my $name (qw(first on)) {
    my $got = wait_for_staple($httpd, 'good', name => "$name.test");
    is($got->{staple}, 'good', "$name: stapled");
    is($got->{serial}, $leaf{$name}{serial}, "$name: with its own response");
}
is(handshake($httpd, name => 'off.test')->{staple}, 'none', 'off: no staple');
is($responder->count($leaf{off}), 0, 'off: nobody was asked about it');

my $got = handshake($httpd, name => undef);
is($got->{serial}, $leaf{first}{serial}, 'no SNI: the first host\'s staple');
$got = handshake($httpd, name => 'nobody.test');
is($got->{serial}, $leaf{first}{serial}, 'unknown name: the first host\'s');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok;

done_testing;
