# Licensed under the Apache License, Version 2.0; see LICENSE.

# A ring file that is not what was left there (foreign, cut short, damaged, a
# link) costs the old responses and a clear line, never the start.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Work qw(build_dir);

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(ocsp => $responder->url);
my $httpd = Staple::Httpd->new(conf => stapling(),
                               vhosts => [{ cert => $leaf }]);
my $file = $httpd->dir . '/logs/stapling_cache';
my $victim = write_file('victim', "not yours\n");

$httpd->start;
my $first = wait_for_staple($httpd, 'good');
is($first->{staple}, 'good', 'stapled at first');
ok($httpd->stop, 'httpd stops');
my $ring = read_file($file);

# Name, and what makes the file so.
my @damages = (
    ['empty'           => sub { write_file($file, '') }],
    ['foreign'         => sub { write_file($file, 'hello' x 30000) }],
    ['cut short'       => sub { write_file($file, substr $ring, 0, 5000) }],
    ['header damaged'  => sub { my $r = $ring; substr($r, 8, 64) ^= "\x55" x 64;
                                write_file($file, $r) }],
    ['all ones'        => sub { write_file($file, "\xff" x length $ring) }],
    ['a symbolic link' => sub { unlink $file; symlink $victim, $file }],
    ['a directory'     => sub { unlink $file; mkdir $file }],
);

for (@damages) {
    my ($name, $damage) = @$_;

    $damage->();
    $httpd->start;
    is(wait_for_staple($httpd, 'good')->{staple}, 'good',
       "$name: stapled anew");
    ok($httpd->stop, "$name: httpd stops in good order");
    like(join("\n", $httpd->staple_lines('warn')), qr/stapling_cache/,
         "$name: the log says so");
    $httpd->log_ok(qr/\[staple:warn\].*stapling_cache/);
    rmdir $file;
}
is(read_file($victim), "not yours\n", 'what the link led to is untouched');

# One bit within the response.
my $at = index $ring, $first->{der} // 'nothing';
cmp_ok($at, '>', 0, 'the response lies in the file as it was served');
substr($ring, $at + 100, 1) ^= "\x01";
write_file($file, $ring);
chmod 0600, $file;
$responder->tell('refuse');
$httpd->start;
is(handshake($httpd)->{staple}, 'none', 'a damaged response is not stapled');
$responder->tell('listen');
is(wait_for_staple($httpd, 'good')->{staple}, 'good', '... a new one is');
ok($httpd->stop, 'httpd stops in good order');

# A lie of somebody who may write to the file: its checksum is right, its
# signature is not.
my $served = read_file($file);
my ($exit, $said) = run(build_dir() . '/t/tools/ringdump', '--bend', $file);
is($exit, 0, 'a response is bent in the file') or diag $said;
isnt(read_file($file), $served, '... which is another one now');
($exit, $said) = run(build_dir() . '/t/tools/ringdump', $file);
like($said, qr/^  served: /m, '... and whole, by its checksum');
$responder->tell('refuse');
$httpd->start;
ok($httpd->wait_for_log(qr/STP0128: 1 OCSP response/), '... it is verified');
is(handshake($httpd)->{staple}, 'none', '... and not stapled');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/\[staple:(?:warn|error)\]/);

done_testing;
