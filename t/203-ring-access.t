# Licensed under the Apache License, Version 2.0; see LICENSE.

# The refresher alone can write the ring and its file. A child has neither a
# descriptor of them nor a mapping that it could write to, and a CGI program
# and the program of StapleMessageCmd have nothing of them at all.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(ocsp => $responder->url);
my $dir = work_dir();

# What a process holds of the ring: descriptors and writable mappings.
sub holds
{
    my ($pid) = @_;
    my @fds = grep { defined && /memfd:staple|stapling_cache/ }
        map { readlink } glob "/proc/$pid/fd/*";
    my @maps = grep { /memfd:staple|stapling_cache/ }
        split /\n/, read_file("/proc/$pid/maps");

    return (scalar @fds, scalar(grep { /^\S+ .w/ } @maps), scalar @maps);
}

# A program that says what it has.
sub program
{
    my ($name, @lines) = @_;
    my $path = write_file($name, join "\n", '#!/bin/sh', @lines, '');

    chmod 0755, $path;
    return $path;
}
my $look = 'ls -l /proc/$$/fd; cat /proc/$$/maps';
my $told = "$dir/open/told";
mkdir "$dir/open";
chmod 0777, "$dir/open";
my $message = program('message', "{ $look; echo END; } >$told.new",
                  "mv $told.new $told");

SKIP: {
    skip 'the system does not tell', 1 if !-r "/proc/$$/maps";
    for my $mpm (qw(event prefork)) {
        next if !has_httpd_module("mpm_$mpm");
        # Of the second a daemon of the parent's runs the programs.
        my $cgi = $mpm eq 'prefork' ? 'cgi' : 'cgid';
        my $with_cgi = has_httpd_module($cgi);
        my $httpd = Staple::Httpd->new(
            mpm => $mpm, modules => $with_cgi ? ['alias', $cgi] : [],
            conf => stapling("StapleMessageCmd $message",
                             $with_cgi
                             ? "ScriptAlias /spy $dir/spy" : ()),
            vhosts => [{ cert => $leaf,
                         conf => "<Directory $dir>\nRequire all granted\n"
                                 . "</Directory>" }]);

        program('spy', 'echo Content-Type: text/plain', 'echo', $look, 'echo END');
        unlink $told;
        $responder->good;
        $httpd->start;
        wait_for_staple($httpd, 'good');

        my $refresher = $httpd->wait_for_refresher;
        my ($fds, $writable, $all);
        SKIP: {
            skip 'the refresher lets only root look into it', 2
                if !opendir my $handle, "/proc/$refresher/fd";
            ($fds, $writable, $all) = holds($refresher);
            is($fds, 1, "$mpm: the refresher has the file");
            cmp_ok($writable, '>=', 1, "$mpm: ... and can write the ring");
        }
        ($fds, $writable, $all) = holds($httpd->pid);
        is($writable, 0, "$mpm: the parent cannot");
        my $descriptors = 0;
        my $readers = 0;
        for my $child ($httpd->children) {
            ($fds, $writable, $all) = holds($child);
            $descriptors += $fds;
            $readers += $all > 0;
            is($writable, 0, "$mpm: a child cannot write the ring");
        }
        is($descriptors, 0, "$mpm: children have no descriptor of it");
        cmp_ok($readers, '>=', 1, "$mpm: they read it");

        SKIP: {
            skip "no mod_$cgi here", 2 if !$with_cgi;
            my ($exit, $out) = run('curl', '-sk', '--resolve',
                                   "www.test:@{[$httpd->port]}:127.0.0.1",
                                   "https://www.test:@{[$httpd->port]}/spy");
            like($out, qr/^END$/m, "$mpm: a CGI program runs");
            unlike($out, qr/memfd:staple|stapling_cache/,
                   "$mpm: ... and has nothing of the ring");
        }

        ok(wait_for(sub { -e $told }), "$mpm: StapleMessageCmd's program ran");
        my $said = read_file($told);
        like($said, qr/^END$/m, "$mpm: ... to its end");
        unlike($said, qr/memfd:staple|stapling_cache/,
               "$mpm: ... and had nothing of the ring");
        ok($httpd->stop, "$mpm: httpd stops in good order");
        $httpd->log_ok(qr/AH01215/);
    }
}

done_testing;
