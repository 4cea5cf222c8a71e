# Licensed under the Apache License, Version 2.0; see LICENSE.

# staplectl lint gives every stapling line of a configuration its verdict: what
# guides and panels have, what overrides what, what other servers' files say.
# What it cannot read it says, with exit status 3.

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP;
use POSIX ();
use Staple;
use Staple::Work qw(build_dir source_dir);

my $dir = work_dir();
my $ctl = build_dir() . '/staplectl/staplectl';
my %status = (kept => 0, changed => 1, shadowed => 1, ignored => 1,
              conflicting => 2, illegal => 2);

sub lint { return run('timeout', 60, $ctl, 'lint', @_) }

# Lint a text; its lines are followed by the verdict that is expected:
#     SSLUseStapling on                #= kept
# or by several, for a line that several settings stand in. What is between
# slashes has to be in the explanation.
sub verdicts
{
    my ($title, $text, %o) = @_;
    my (@expected, @words);
    my $number = 0;
    my $worst = 0;

    for my $line (split /\n/, $text) {
        $number++;
        my ($said) = $line =~ /\s*#= (.*)$/ or next;
        my ($verdicts, $words) = $said =~ m{^([a-z ]+?)(?: /(.*)/)?$};
        for my $verdict (split / /, $verdicts) {
            push @expected, "$number $verdict";
            push @words, $words;
            $worst = $status{$verdict} if $status{$verdict} > $worst;
        }
    }
    my $path = write_file($o{name} // 'text.conf',
                          $text =~ s/[ \t]*#= .*$//gmr);
    my ($exit, $out) = lint('--json', @{ $o{args} // [] }, $path);
    my $result = decode_json($out);
    my @lines = @{ $result->{lines} };

    is_deeply([map { "$_->{line} $_->{verdict}" } @lines], \@expected, $title)
        or diag $out;
    for my $i (grep { defined $words[$_] } 0 .. $#words) {
        like($lines[$i]{explanation} // '', qr/$words[$i]/,
             "... line $expected[$i], and why");
    }
    is($exit, $worst, "... exit status $worst");
    return $result;
}

# ----- directives -----

verdicts('mod_ssl\'s directives', <<'CONF');
SSLUseStapling on                                #= kept /no handshake waits/
SSLStaplingCache shmcb:/var/cache/x/ring(512000) #= kept /through restarts/
SSLStaplingResponseTimeSkew 300                  #= changed /nextUpdate/
SSLStaplingResponderTimeout 10                   #= changed /whole exchange/
SSLStaplingResponseMaxAge 86400                  #= changed /never serves an/
SSLStaplingStandardCacheTimeout 3600             #= changed /drops.*not needed/
SSLStaplingErrorCacheTimeout 600                 #= changed /pauses/
SSLStaplingReturnResponderErrors on              #= changed /no valid response/
SSLStaplingFakeTryLater on                       #= changed /off is better/
SSLStaplingForceURL http://ocsp.test/            #= kept
SSLOCSPProxyURL http://proxy.test:3128           #= kept
CONF
verdicts('values that mean the same in both', <<'CONF');
SSLUseStapling off                               #= kept /nothing is stapled/
SSLStaplingResponseTimeSkew 0                    #= kept
SSLStaplingReturnResponderErrors off             #= kept /the default/
SSLStaplingFakeTryLater OFF                      #= kept
CONF
verdicts('times with a unit', <<'CONF');
SSLStaplingErrorCacheTimeout 5min   #= changed /reads the number alone/
StapleWarmup 500ms                  #= kept
CONF
verdicts('mod_staple\'s own', <<'CONF');
StapleCacheGrow off                              #= kept
StapleCertIDHash sha256                          #= kept
StapleDenyResponder loopback 10.0.0.0/8 fc00::/7 #= kept
StapleFetchConcurrency 1024                      #= kept
StapleMaxAge 10d                                 #= kept
StapleRevokedRecheck 6h                          #= kept
StapleMessageCmd /usr/bin/true a b               #= kept
StapleMustStaple require                         #= kept
StapleResponseDirectory next                     #= kept
StapleResponseFile a.der b.der                   #= kept
StapleShare redis:127.0.0.1:6379                 #= kept
StapleStatusActions on                           #= kept
StapleWarmup 0                                   #= kept
CONF
verdicts('FakeTryLater hangs on ReturnResponderErrors', <<'CONF');
SSLStaplingFakeTryLater on               #= ignored /ReturnResponderErrors/
<VirtualHost *:443>
    SSLStaplingReturnResponderErrors on  #= changed
    SSLStaplingFakeTryLater on           #= changed
</VirtualHost>
<VirtualHost *:444>
    SSLStaplingFakeTryLater on           #= ignored
</VirtualHost>
CONF
verdicts('... on one that inherits it', <<'CONF');
SSLStaplingFakeTryLater on               #= changed
<VirtualHost *:443>
    SSLStaplingReturnResponderErrors on  #= changed
</VirtualHost>
<VirtualHost *:444>
    SSLStaplingFakeTryLater on           #= ignored
</VirtualHost>
CONF
verdicts('... on one that has its own under a condition', <<'CONF');
SSLStaplingFakeTryLater on               #= changed
<IfDefine HOST>
    <VirtualHost *:443>
        SSLStaplingReturnResponderErrors on  #= changed
        <IfDefine OWN>
            SSLStaplingFakeTryLater on       #= changed
        </IfDefine>
    </VirtualHost>
</IfDefine>
CONF
verdicts('... on one that always has its own, if it is there', <<'CONF');
SSLStaplingFakeTryLater on               #= ignored
<IfDefine HOST>
    <VirtualHost *:443>
        SSLStaplingReturnResponderErrors on  #= changed
        SSLStaplingFakeTryLater off          #= kept
    </VirtualHost>
</IfDefine>
CONF
verdicts('... where errors are off under a condition', <<'CONF');
SSLStaplingReturnResponderErrors on          #= changed
<VirtualHost *:443>
    <IfDefine QUIET>
        SSLStaplingReturnResponderErrors off #= kept
    </IfDefine>
    SSLStaplingFakeTryLater on               #= changed
</VirtualHost>
<VirtualHost *:444>
    SSLStaplingReturnResponderErrors off     #= kept
    SSLStaplingFakeTryLater on               #= ignored
</VirtualHost>
CONF
verdicts('... in a macro, with the other line where it is used', <<'CONF');
<Macro Later>
    SSLStaplingFakeTryLater on               #= changed
</Macro>
<VirtualHost *:443>
    Use Later
    SSLStaplingReturnResponderErrors on      #= changed
</VirtualHost>
CONF
verdicts('... and the other way round', <<'CONF');
<Macro Errors>
    SSLStaplingReturnResponderErrors on      #= changed
</Macro>
<VirtualHost *:443>
    Use Errors
    SSLStaplingFakeTryLater on               #= changed
</VirtualHost>
CONF
verdicts('... in a macro, and nobody returns errors', <<'CONF');
<Macro Later>
    SSLStaplingFakeTryLater on               #= ignored
</Macro>
SSLStaplingReturnResponderErrors off         #= kept
CONF
verdicts('the last SSLStaplingCache holds alone', <<'CONF');
SSLStaplingCache dbm:/var/cache/x        #= shadowed /text.conf:3/
SSLStaplingCache memcache:127.0.0.1:1121 #= shadowed /text.conf:3/
SSLStaplingCache shmcb:                  #= kept /memory only/
CONF
verdicts('a provider other than shmcb is a share', <<'CONF');
SSLStaplingCache shmcb:                  #= shadowed /text.conf:2/
SSLStaplingCache memcache:127.0.0.1:1121 #= changed /as StapleShare does/
CONF
verdicts('what StapleShare says stays', <<'CONF');
StapleShare memcache:one.test            #= kept
SSLStaplingCache memcache:127.0.0.1:1121 #= changed /where StapleShare says/
CONF

# ----- values that mod_ssl starts with -----

my $replaced = verdicts('what makes no sense is replaced', <<'CONF');
<VirtualHost *:443>
    SSLStaplingResponderTimeout 0            #= changed /the default is used/
    SSLStaplingErrorCacheTimeout 60x         #= changed /60 seconds are used/
    SSLStaplingResponseMaxAge 999999999      #= changed /ten years are used/
    SSLUseStapling on # why                  #= changed /ignored/
    SSLStaplingForceURL https://ocsp.test/   #= changed /certificate names/
    SSLOCSPProxyURL u:secret@proxy.test:3128 #= changed /http:..u:\*\*\*@proxy/
</VirtualHost>
<VirtualHost *:8443>
    SSLStaplingForceURL none                 #= kept
    SSLOCSPProxyURL none                     #= kept
</VirtualHost>
SSLOCSPProxyURL http://u:secret@proxy.test   #= kept
SSLOCSPProxyURL https://u:secret@proxy.test  #= illegal /plain HTTP/
CONF
unlike($_->{text} . $_->{explanation}, qr/secret/, 'no password is shown')
    for @{ $replaced->{lines} };

# ----- where the ring lies -----

verdicts('places for the ring', $_->[0] . <<'CONF') for
DocumentRoot /var/www/html
<VirtualHost *:443>
    DocumentRoot "/srv/site/"
</VirtualHost>
CONF
    ["SSLStaplingCache shmcb:/tmp/x(128000)     #= changed /anybody/\n"],
    ["SSLStaplingCache shmcb:/run/x(128000)     #= kept /reboot/\n"],
    ["SSLStaplingCache shmcb:/srv/site/r(128000) #= changed /DocumentRoot/\n"],
    ["SSLStaplingCache shmcb:/srv/sites/r(9000) #= kept\n"],
    ["ServerRoot /var/www\nSSLStaplingCache shmcb:html/r(9000)"
     . " #= changed /DocumentRoot/\n"],
    ["SSLStaplingCache shmcb:\${RUN}/ring(9000) #= kept /not known/\n"];

# ----- guides that are wrong -----

verdicts('what guides have', <<'CONF');
<VirtualHost *:443>
    SSLUseStapling On                                    #= kept
    SSLStaplingCache shmcb:/tmp/stapling_cache(128000)   #= illegal /of line 1;.*server level/
    SSLStaplingResponderURI http://ocsp.test/            #= illegal /SSLStaplingForceURL/
    SSLStaplingResponseMaxAge -1                         #= illegal /'-1' is no time/
    SSLStaplingStandardCacheTimeout 3600 # an hour       #= illegal /comment/
    ssl_trusted_certificate /etc/ssl/chain.pem           #= illegal /nginx/
    <Directory "/var/www">
        SSLUseStapling off                               #= illegal /<Directory "/
    </Directory>
</VirtualHost>
SSLUseStaping on                                         #= illegal /SSLUseStapling\?/
SSLOCSPStapling on                                       #= illegal /SSLUseStapling\?/
StapleResponceFile x                                     #= illegal /StapleResponseFile\?/
SSLUseStapling on;                                       #= illegal /'on;' is not/
SSLOCSPProxyURL https://ocsp.test/                       #= illegal /http:/
SSLStaplingCache                                         #= illegal /missing/
SSLStaplingCache logs/ring                               #= illegal /provider/
SSLStaplingCache shmcb:logs/ring(128k)                   #= illegal /number of bytes/
SSLStaplingMagicBeans on                                 #= illegal /no such dir/
CONF
my $quotes = verdicts('typographic quotes',
    "SSLStaplingCache \xe2\x80\x9cshmcb:x(9000)\xe2\x80\x9d #= illegal /typogr/");
like($quotes->{lines}[0]{text}, qr/^[ -~]+$/, 'what is shown is printable');
verdicts('what has nothing to do with stapling', <<'CONF');
SSLOCSPEnable on
SSLOCSPResponseMaxAge 60
SSLSessionCache shmcb:/tmp/x(512000)
GnuTLSOCSPStapling on
# SSLUseStapling bad
CONF

# ----- sections -----

verdicts('sections', <<'CONF');
<If "%{HTTPS} == 'on'">
    SSLUseStapling on          #= illegal /<If /
</If>
<LOCATION />
    <IfModule ssl_module>
        StapleShare redis:x    #= illegal /server level/
    </IfModule>
</Location>
<IfModule mod_ssl.c>
    <VirtualHost *:443>
        sslusestapling ON      #= kept
        StapleWarmup 1s        #= illegal
    </VirtualHost>
</IfModule>
<IfModule Litespeed>
    SSLStaplingCache nonsense  #= ignored /skips <IfModule Litespeed>/
    Include nowhere.conf
</IfModule>
<IfModule !staple_module>
    SSLUseStapling off         #= ignored
</IfModule>
<IfModule !LiteSpeed>
    SSLStaplingErrorCacheTimeout 60 #= changed
</IfModule>
<Perl>
    SSLUseStapling($nonsense);
    </Wherever>
</Perl>
SSLUseStapling on              #= kept
CONF
verdicts('a later line of the same context holds', <<'CONF');
SSLUseStapling off             #= shadowed /text.conf:9/
<VirtualHost *:443>
    SSLUseStapling off         #= shadowed /text.conf:4 holds/
    SSLUseStapling on          #= kept
</VirtualHost>
<VirtualHost *:444>
    SSLUseStapling off         #= kept
</VirtualHost>
SSLUseStapling on              #= kept
StapleResponseFile a           #= kept
StapleResponseFile b           #= kept
StapleDenyResponder loopback   #= kept
StapleDenyResponder private    #= kept
CONF
verdicts('... or may', <<'CONF');
SSLStaplingErrorCacheTimeout 60      #= changed /where <IfDefine X> holds, .*:3/
<IfDefine X>
    SSLStaplingErrorCacheTimeout 61  #= changed
</IfDefine>
<IfDefine A>
    StapleWarmup 1                   #= kept /missing responses$/
</IfDefine>
<IfDefine !A>
    StapleWarmup 2                   #= kept
</IfDefine>
<IfModule socache_shmcb_module>
    SSLStaplingCache shmcb:/a(9000)  #= shadowed
</IfModule>
<IfModule staple_module>
    SSLStaplingCache shmcb:/b(9000)  #= kept
</IfModule>
<IfVersion >= 2.4>
    StapleCacheGrow on               #= shadowed
    <IfFile /x>
        StapleCacheGrow on           #= shadowed
    </IfFile>
    StapleCacheGrow off              #= kept
</IfVersion>
CONF

# ----- mod_md -----

my $md = <<'CONF';
SSLUseStapling on   #= kept
MDStapling on       #= conflicting /text.conf:1; write MDStapling off/
CONF
verdicts('mod_md keeps what it claims', $md);
verdicts('... or shares', $md =~ s/conflicting.*/kept/r . <<'CONF');
MDStapleOthers off        #= kept
MDStaplingRenewWindow 10% #= kept
CONF
verdicts('... or has it alone', "MDStapling on #= kept /nothing to do/\n");
verdicts('... for a domain, for a site', <<'CONF');
SSLUseStapling on     #= kept
<MDomainSet a.test>
    MDStapling on     #= kept /of this domain/
</MDomainSet>
<VirtualHost *:443>
    SSLUseStapling off #= kept
    MDStapling on      #= kept
</VirtualHost>
<VirtualHost *:444>
    MDStapling on      #= conflicting
</VirtualHost>
CONF

# ----- a whole server, and pieces of one -----

my $whole = "ServerRoot $dir\nPidFile run/pid\nLoadModule ssl_module x.so\n";
verdicts('no SSLStaplingCache in a whole server', "$whole<VirtualHost *:443>\n"
         . "SSLUseStapling on #= conflicting /AH01958/\n</VirtualHost>\n");
my $piece = verdicts('... and in a piece', "SSLUseStapling on #= kept\n");
like(join("\n", map { $_->{text} } @{ $piece->{notes} }),
     qr/not set: SSLStaplingReturn.*SSLStaplingFake.*no SSLStaplingCache was/s,
     '... is noted, and so is what was not written');
$piece = verdicts('a server without the modules',
                  "${whole}SSLStaplingCache shmcb:/x(9000) #= kept\n");
is_deeply([map { $_->{text} =~ /LoadModule (\w+)/ } @{ $piece->{notes} }],
          ['staple_module', 'socache_shmcb_module'], '... is noted');

my $ea4 = <<'CONF';
<IfModule socache_shmcb_module>
    SSLUseStapling On                    #= kept
    SSLStaplingCache shmcb:/run/apache2/stapling_cache_shmcb(256000) #= kept
    # Prevent browsers from failing if an OCSP server is temporarily broken.
    SSLStaplingReturnResponderErrors off #= kept
    SSLStaplingErrorCacheTimeout 60      #= changed
    SSLStaplingFakeTryLater off          #= kept
    SSLStaplingResponderTimeout 3        #= changed
</IfModule>
CONF
verdicts('EasyApache 4 as it comes', $ea4);
verdicts('cPanel includes userdata in virtual hosts', <<'CONF',
SSLUseStapling off                       #= kept
SSLStaplingCache shmcb:/tmp/x(128000)    #= illegal /inside a <VirtualHost>/
CONF
         name => 'userdata/ssl/2_4/x.conf');
verdicts('--vhost says so of any file', <<'CONF', args => ['--vhost']);
StapleWarmup 1 #= illegal
CONF
verdicts('.htaccess', "SSLUseStapling on #= illegal /\\.htaccess/\n",
         name => '.htaccess');

my $examples = source_dir() . '/docs/examples';
for my $example (split /\n/, `find '$examples' -name '*.conf'`) {
    my ($exit, $out) = lint($example);
    is($exit, 0, "$example: nothing to do") or diag $out;
}

# ----- other servers -----

verdicts('nginx', <<'CONF');
server {
    listen 443 ssl;
    ssl_stapling on;                           #= ignored /SSLUseStapling/
    ssl_stapling_verify on;                    #= ignored /always verified/
    ssl_stapling_file /etc/ssl/site.der;       #= ignored /StapleResponseFile/
    ssl_stapling_responder http://ocsp.test/;  #= ignored /SSLStaplingForceURL/
    ssl_certificate /etc/ssl/ssl_stapling.pem;
}
CONF
verdicts('HAProxy', <<'CONF');
global
    tune.ssl.ocsp-update.maxdelay 3600   #= ignored /nothing is needed/
    ocsp-update.httpproxy 10.0.0.1:3128  #= ignored /SSLOCSPProxyURL/
crt-store web
    load crt "a.pem" ocsp "a.ocsp" ocsp-update on #= ignored ignored
frontend www
    bind :443 ssl crt /etc/ocsp/a.pem
CONF
verdicts('LiteSpeed, XML', <<'CONF', name => 'vhconf.xml');
<?xml version="1.0" encoding="UTF-8"?>
<virtualHostConfig>
  <vhssl>
    <enableStapling>1</enableStapling>     #= ignored /SSLUseStapling/
    <ocspRespMaxAge>86400</ocspRespMaxAge> #= ignored /nothing is needed/
    <ocspResponder>http://ocsp.test/</ocspResponder> #= ignored /ForceURL/
    <ocspCACerts>$SERVER_ROOT/ca.pem</ocspCACerts>   #= ignored /issuer/
  </vhssl>
</virtualHostConfig>
CONF
verdicts('LiteSpeed, plain', <<'CONF');
vhssl  {
  keyFile                 /etc/ssl/key.pem
  CACertFile              /etc/ssl/ca.pem
  enableStapling          1      #= ignored
  ocspRespMaxAge          86400  #= ignored
}
CONF

# ----- reading as httpd reads -----

verdicts('lines go on behind a backslash, comments too', <<'CONF');
# a comment that goes on \
SSLUseStapling bad
StapleWarmup 1s #= kept
CONF
my ($exit, $out) = lint(write_file('more', "SSLUseStapling \\\n  bad\n"));
like($out, qr/more:1: illegal: SSLUseStapling   bad$/m,
     'the line that is named is the first');
($exit, $out) = lint(write_file('split', "SSLUse\\\nStapling o\\\nn\n"));
like($out, qr/split:1: kept: SSLUseStapling on$/m, 'words go on, too');
($exit, $out) = lint(write_file('crlf',
    "SSLUseStapling on\r\nSSLUseStapling \\\r\noff\r\n"));
like($out, qr/crlf:1: shadowed: SSLUseStapling on\n.*crlf:2: kept/s,
     'line ends of DOS');
verdicts('quotes', <<'CONF');
SSLStaplingCache 'shmcb:/var/cache/a b(9000)'   #= shadowed
SSLStaplingCache "shmcb:/var/cache/a\"b(9000)"  #= kept
SSLUseStapling "on                              #= kept
SSLStaplingForceURL ${URL}                      #= kept /not known/
SSLStaplingReturnResponderErrors ${WHETHER}     #= changed
CONF
($exit, $out) = lint(write_file('long', "SSLUseStapling on\n# " . 'x' x 1e6
    . "\nSSLUseStapling " . 'y' x 1e5 . "\n"));
is($exit, 2, 'long lines');
like($out, qr/illegal: SSLUseStapling y+\.\.\.$/m, '... are cut where shown');
($exit, $out) = lint(write_file('bom', "\xef\xbb\xbfSSLUseStapling on\n"));
like($out, qr/bom:1: kept.*bom:1: note: .*byte order mark/s,
     'a byte order mark');
($exit, $out) = lint(write_file('open', "<VirtualHost *:1>\n<Directory />\n"
    . "</VirtualHost>\n</Files>\n<Location />\nSSLUseStapling on\n"));
like($out, qr/open:3: note: .*<Directory> is closed.*open:4: note: .*not open.*open:5: note: <Location> is not closed/s,
     'sections that do not fit');

# ----- includes -----

write_file("tree/$_->[0]", $_->[1]) for
    ['httpd.conf', "ServerRoot \"$dir/tree\"\nInclude mods/*.conf\n"
        . "IncludeOptional none/*.conf\n<VirtualHost *:443>\n"
        . "Include 'sites/one.conf'\n</VirtualHost>\nInclude \${X}/a\n"
        . "Include nothing.conf\nInclude sub\nInclude loop.conf\n"],
    ['mods/a.conf', "SSLUseStapling off\n"],
    ['mods/b.conf', "SSLUseStapling on\n"],
    ['mods/c.load', "SSLUseStapling nonsense\n"],
    ['sites/one.conf', "SSLStaplingCache shmcb:x(9000)\n"],
    ['sub/deeper/x', "StapleWarmup 1s\n"],
    ['sub/y', "ssl_stapling on;\n"],
    ['loop.conf', "Include loop2.conf\nInclude loop2.conf\n"],
    ['loop2.conf', "Include ./loop.conf\nSSLUseStapling bad\n"];
($exit, $out) = lint("$dir/tree/httpd.conf");
is($exit, 2, 'a tree of files, some of which include each other');
like($out, qr/^\S+\Q$_->[0]\E:\d+: $_->[1]/m, "included: $_->[0]: $_->[1]")
    for ['mods/a.conf', 'shadowed'], ['mods/b.conf', 'kept'],
        ['sites/one.conf', 'illegal'], ['sub/deeper/x', 'kept'],
        ['sub/y', 'illegal'],
        ['loop2.conf', 'illegal'],
        ['httpd.conf', 'note: nothing is included: there is no .*nothing.conf'],
        ['httpd.conf', 'note: ..X./a is not followed'];
unlike($out, qr/c\.load|none/, 'and nothing else');
write_file('tree/loop2.conf', "Include loop.conf\n");
($exit, $out) = lint("$dir/tree/httpd.conf");
is($exit, 2, 'a file that includes itself');
like($out, qr/loop2.conf:1: note: .*includes itself/, '... is noted');
write_file("deep/$_", 'Include ' . ($_ + 1) . "\n") for 0 .. 140;
($exit, $out) = lint("$dir/deep/0");
is($exit, 3, 'includes that go too deep');
like($out, qr{deep/128:1: note: .*too many includes}, '... are noted');
write_file('copy/httpd.conf', "ServerRoot /etc/elsewhere\nInclude sub/a\n");
write_file('copy/sub/a', "StapleWarmup 1s\n");
($exit, $out) = lint('--root', "$dir/copy", "$dir/copy/httpd.conf");
like($out, qr{copy/sub/a:1: kept}, '--root instead of ServerRoot');
write_file('noroot/httpd.conf', "Include sub/a\n");
write_file('noroot/sub/a', "SSLUseStapling on\n");
($exit, $out) = lint("$dir/noroot/httpd.conf", "$dir/noroot/sub/a");
like($out, qr{^1 stapling line in 2 files: 1 kept$}m,
     'without any, beside the file; what was included is not read again');
write_file('many/u', "SSLStaplingCache shmcb:x(9000)\n");
($exit, $out) = lint(write_file('many/c', "ServerRoot $dir/many\n"
    . "<VirtualHost *:1>\nInclude u\n</VirtualHost>\n" x 50));
is(() = $out =~ /illegal: /g, 50, 'each virtual host is told of');
write_file('many/u', "SSLUseStapling on\n");
($exit, $out) = lint("$dir/many/c");
is(() = $out =~ /conflicting: /g, 1, '... unless the same is to be said');

# ----- bad days -----

sub fails
{
    my ($words, $title, @args) = @_;
    ($exit, $out) = lint(@args);

    is($exit, 3, $title);
    like($out, $words, '... in clear words');
}

fails(qr/which files/, 'no file');
fails(qr/No such file/, 'a missing file', "$dir/nothing");
fails(qr/is a directory/, 'a directory', $dir);
fails(qr/NUL/, 'a binary file', $ctl);
fails(qr/NUL/, 'UTF-16', write_file('utf16', "S\0S\0L\0"));
fails(qr/is no file/, 'a device', '/dev/zero');
fails(qr/option/, 'an option without its value', 'x', '--root');
POSIX::mkfifo("$dir/pipe", 0600);
fails(qr/pipe: it is no file/, 'a pipe that a file names',
      write_file('p', "Include $dir/pipe\n"));
fails(qr/b:1: note: .*NUL.*1 kept/s, 'a binary file that is included',
      write_file('b', "Include $ctl\nSSLUseStapling on\n"));
fails(qr/nested:21: note: too many sections/, 'sections without an end',
      write_file('nested', "<IfDefine x>\n" x 20000));
fails(qr/nothing: No such.*1 kept/s, 'the others are read all the same',
      "$dir/nothing", write_file('ok', "SSLUseStapling off\n"));
is((lint(write_file('empty', '')))[0], 0, 'an empty file is no trouble');

SKIP: {
    skip 'only root can be somebody else', 4 if $> != 0;
    my $secret = write_file('secret', "SSLUseStapling on\n");
    chmod 0600, $secret;
    mkdir "$dir/closed", 0700 or die "$dir/closed: $!\n";
    my $optional = write_file('optional', "ServerRoot $dir\n"
        . "SSLUseStapling on\nIncludeOptional closed/ssl.conf\n");
    chmod 0644, $optional;
    my $uid = getpwnam((Staple::Httpd::account())[0]);
    my %case = ('no right to read' => $secret,
                'what httpd, as root, may include' => $optional);
    for my $what (sort keys %case) {
        my $pid = fork // die "cannot fork: $!\n";
        if (!$pid) {
            open STDOUT, '>', "$dir/denied";
            open STDERR, '>&', \*STDOUT;
            $( = $) = $uid;
            $< = $> = $uid;
            exec($ctl, 'lint', $case{$what}) or POSIX::_exit(127);
        }
        waitpid $pid, 0;
        is($? >> 8, 3, $what);
        like(read_file("$dir/denied"), qr/ermission/, '... in clear words');
    }
}

# What has no end, or would take that long: each of these took minutes, or
# gigabytes, or never ended; run() has a deadline.
($exit, $out) = lint(write_file('continued', "SSLUseStapling \\\n"
                                . "on \\\n" x 500_000 . "off\n"));
is($exit, 1, '500,000 lines that continue one');
like($out, qr/^1 stapling line in 1 file: 1 changed$/m, '... are one line');
mkdir "$dir/knot";
mkdir "$dir/knot/$_" for qw(a b);
symlink '..', "$dir/knot/$_" for qw(a/up b/up);
write_file('knot/f', "SSLUseStapling on\n");
($exit, $out) = lint(write_file('untie', "Include knot\n"));
is($exit, 0, 'two links that lead back');
is(() = $out =~ /note: \S+up leads back/g, 2, '... are noted');
like($out, qr/^1 stapling line in 2 files: 1 kept$/m, '... each file once');
write_file("up/$_/x", '') for 1 .. 50;
fails(qr/too many files or directories/, 'a pattern that goes up and down',
      write_file('updown', "ServerRoot $dir/up\nInclude " . '*/../' x 60 . "*\n"));
fails(qr/too many directories in each other/, 'one of hundreds of directories',
      write_file('ladder', "ServerRoot $dir/up\nInclude " . '1*/../' x 500 . "x\n"));
write_file("double/$_", sprintf("Include %d\n", $_ + 1) x 2) for 1 .. 18;
write_file('double/19', "SSLUseStapling on\n");
fails(qr/too many files/, 'includes that double',
      write_file('double/0', "Include 1\n"));

# ----- macros and Define -----

verdicts('a macro that is used', <<'CONF');
<Macro Site $host @how>
    SSLUseStapling @how                      #= illegal /used at \S+:9: 'maybe' is not/
    SSLStaplingResponderTimeout 5            #= changed
    SSLStaplingForceURL http://$host/        #= kept
</Macro>
<VirtualHost *:443>
    Use Site a.test on
</VirtualHost>
Use site b.test maybe
CONF
verdicts('a macro of which no use is known', <<'CONF');
<Macro Site $host $how>
    SSLUseStapling $how                      #= kept /depends on where it is used/
    SSLStaplingCache shmcb:$host(9000)       #= kept /depends on where it is used/
    SSLUseStapling nonsense                  #= illegal /'nonsense' is not/
</Macro>
CONF
verdicts('Define', <<'CONF');
Define HOW off
Define RING /var/cache/ring
SSLUseStapling ${HOW}                        #= kept /nothing is stapled/
SSLStaplingCache shmcb:${RING}(9000)         #= kept /that file/
<IfDefine HOW>
    SSLStaplingErrorCacheTimeout 5           #= shadowed /text.conf:8/
</IfDefine>
SSLStaplingErrorCacheTimeout 6               #= changed
<IfDefine !HOW>
    SSLStaplingErrorCacheTimeout 7           #= ignored /skips <IfDefine !HOW>/
</IfDefine>
<IfDefine UNKNOWN>
    Define HOW maybe
</IfDefine>
<VirtualHost *:1>
    SSLUseStapling ${HOW}                    #= kept /not known here/
</VirtualHost>
CONF

# Whatever the name of an included file is, no terminal obeys it.
mkdir "$dir/parts" or die "$dir/parts: $!\n";
write_file("$dir/parts/a\e[2J\x9b1m.conf", "SSLUseStapling on\n</nothing>\n");
for my $args ([], ['--json']) {
    ($exit, $out) = lint(@$args, write_file('parts.conf', "Include parts/*.conf\n"));
    like($out, qr/ends what is not open/, "a name of odd bytes: @$args");
    unlike($out, qr/[^\n -~]/, '... none of them comes out');
}

# Whatever is in a file: an answer, and never a crash.
my @odd;
srand 7;
my @pieces = ('<', '</', '>', '"', "'", '\\', "\n", "\r\n", ' ', '${X}', "\t",
              'SSLUseStapling ', 'SSLStaplingCache shmcb:x(', 'on', 'off',
              '<VirtualHost *:1>', '</VirtualHost>', '<IfModule !a>',
              '</IfModule>', '<If 1>', '</If>', '9000)', '#', ';', '{', '}',
              'MDStapling ', 'StapleDenyResponder ', '::/0 ', '-1', "\xff",
              '<MDomainSet a>', '<Macro m>', 'ssl_stapling ', 'ocsp-update ');
for my $n (1 .. 200) {
    my $text = join '', map { $pieces[rand @pieces] } 1 .. 300;
    ($exit, $out) = lint('--json', write_file('odd', $text));
    push @odd, $text if $exit > 2 || !eval { decode_json($out) };
}
is_deeply(\@odd, [], 'nonsense');
for my $seed (glob source_dir() . '/t/fuzz/corpus/lint/*') {
    ($exit, $out) = lint($seed);
    cmp_ok($exit, '<=', 3, "fuzz seed $seed");
}

done_testing;
