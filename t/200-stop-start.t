# Licensed under the Apache License, Version 2.0; see LICENSE.

# A stop and start with the responder down: the very first handshake is stapled,
# with the response from before, out of the ring's file.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my %leaf = map { $_ => $ca->leaf(name => "$_.test", ocsp => $responder->url) }
    qw(a b c);
my $httpd = Staple::Httpd->new(conf   => stapling('StapleWarmup 60'),
                               vhosts => [map { { cert => $leaf{$_} } }
                                              qw(a b c)]);
my %before;

$httpd->start;
for my $name (sort keys %leaf) {
    my $got = wait_for_staple($httpd, 'good', name => "$name.test");
    is($got->{staple}, 'good', "$name: stapled");
    $before{$name} = $got->{der};
}
ok($httpd->stop, 'httpd stops');
$httpd->log_ok;

$responder->tell('refuse');
$httpd->start;
for my $name (sort keys %leaf) {
    my $got = handshake($httpd, name => "$name.test");
    is($got->{staple}, 'good', "$name: stapled after the start, at once");
    ok(defined $got->{der} && $got->{der} eq $before{$name},
       "$name: with the bytes from before");
}
my @mode = stat $httpd->dir . '/logs/stapling_cache';
is(sprintf('%o', $mode[2] & 07777), '600', 'the file is nobody else\'s');
ok($httpd->stop, 'httpd stops again');
$httpd->log_ok;

done_testing;
